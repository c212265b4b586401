# churn.gnuplot: draws the table of the scenario churn; bench/draw sets table, picture and fresh.
set terminal svg size 760,720 font 'sans-serif,12' background rgb 'white'
set output picture
set datafile separator tab
set datafile commentschars '#'
set border 3 lc rgb '#666666'
set tics nomirror
set grid ytics lc rgb '#dddddd' lt 1
set key at graph 1,1.13 right horizontal samplen 2 maxrows 1
stats table using 1 skip 1 nooutput
set xrange [0:STATS_max]
set style fill solid noborder
set multiplot layout 3,1 margins 0.12,0.97,0.08,0.94 spacing 0,0.11

set label 1 'Size of a store, 2,000 new sessions a second, ttl 30 s' at graph 0,1.2
set ylabel 'MB'
set yrange [0:fresh * 3]
plot table using 1:($2+$3+$4) skip 1 with filledcurves x1 lc rgb '#b8b8e0' title 'table', \
	'' using 1:($3+$4) skip 1 with filledcurves x1 lc rgb '#5555aa' title 'indexes', \
	fresh with lines lw 2 lc rgb '#339933' title 'live entries', \
	2.5*fresh with lines lw 1 dt 2 lc rgb '#cc3333' title 'limit'

set label 1 'For how long the oldest entry that is still on disk has been over'
set ylabel 's'
set yrange [0:6]
plot 5 with lines lw 1 dt 2 lc rgb '#cc3333' title 'limit', \
	table using 1:8 skip 1 with lines lw 1.5 lc rgb '#333399' title 'lag'

set label 1 'Latency of keep.get in the foreground, 200 a second'
set ylabel 'ms'
set xlabel 'seconds'
set logscale y
set yrange [0.1:100]
plot table using 1:($11 > 0 ? $11 : NaN) skip 1 with lines lw 1.5 lc rgb '#cc6633' title 'p99', \
	'' using 1:($10 > 0 ? $10 : NaN) skip 1 with lines lw 1.5 lc rgb '#333399' title 'p50'
