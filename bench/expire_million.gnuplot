# expire_million.gnuplot: draws the table of the scenario expire_million; bench/draw sets table and picture.
set terminal svg size 760,500 font 'sans-serif,12' background rgb 'white'
set output picture
set datafile separator tab
set datafile commentschars '#'
set border 3 lc rgb '#666666'
set tics nomirror
set grid ytics lc rgb '#dddddd' lt 1
set key at graph 1,1.13 right horizontal samplen 2 maxrows 1
stats table using 1 skip 1 nooutput
set xrange [STATS_min:STATS_max]
set yrange [0:*]
set style fill solid noborder
set multiplot layout 2,1 margins 0.12,0.97,0.11,0.90 spacing 0,0.16

set label 1 '1,000,000 entries that expire at 0 s' at graph 0,1.2
set ylabel 'thousand'
plot table using 1:($2/1000) skip 1 with filledcurves x1 lc rgb '#b8b8e0' title 'still on disk'

set label 1 'Latency of keep.get in the foreground, 500 a second'
set ylabel 'ms'
set xlabel 'seconds'
set logscale y
set yrange [0.1:100]
plot table using 1:($7 > 0 ? $7 : NaN) skip 1 with lines lw 1.5 lc rgb '#cc6633' title 'p99', \
	'' using 1:($6 > 0 ? $6 : NaN) skip 1 with lines lw 1.5 lc rgb '#333399' title 'p50'
