# pg_keep: built with PGXS. PG_CONFIG= selects the PostgreSQL to build for.
#
#   make, make install, make installcheck   as for any extension: a PostgreSQL with its build files must be there
#   make check, make demo, make bench       install what is missing (as root, on Debian), use a server of their own
#   make check-long                         what takes hours; LONG='faults crashes' for some (scripts/check-long)
#   make check-clients                      the handlers of docs/clients.md, likewise; CLIENTS='node java' for some
#   make check REGRESS='get put'            some tests; also ISOLATION=, PROVE_TESTS=, and PARTS= for whole parts
#   make bench BENCH='get put'              some scenarios

PG_CONFIG ?= pg_config

# Targets that bring their own PostgreSQL, or need none.
OWN_TARGETS = check check-long check-clients demo demo-stop bench check-style check-layers
GOALS = $(or $(MAKECMDGOALS),all)

ifneq ($(filter $(OWN_TARGETS),$(GOALS)),)

.PHONY: $(GOALS)
.NOTPARALLEL:

# The scripts call make themselves; they must not inherit this one's flags.
SCRIPT = env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS PG_CONFIG='$(PG_CONFIG)' COPT='$(COPT)'

check:
	@$(SCRIPT) REGRESS='$(REGRESS)' ISOLATION='$(ISOLATION)' PROVE_TESTS='$(PROVE_TESTS)' \
		PARTS='$(PARTS)' scripts/sandbox --tests scripts/run-tests

check-long:
	@$(SCRIPT) scripts/check-long $(LONG)

check-clients:
	@$(SCRIPT) scripts/sandbox --clients scripts/check-clients $(CLIENTS)

demo:
	@scripts/demo-stop --quiet
	@$(SCRIPT) scripts/sandbox --keep .demo demo/run

demo-stop:
	@scripts/demo-stop

bench:
	@$(SCRIPT) scripts/sandbox scripts/with-server -c fsync=on -f bench/server.conf bench/run $(BENCH)

check-style:
	@scripts/check-style

check-layers:
	@scripts/check-layers

# Other targets named on the same command line.
$(filter-out $(OWN_TARGETS),$(GOALS)):
	@$(MAKE) $@

else

EXTENSION = pg_keep
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" pg_keep.control)
MODULE_big = pg_keep
OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
DATA = $(wildcard sql/pg_keep--*--*.sql)
DATA_built = sql/pg_keep--$(EXTVERSION).sql
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter

REGRESS = $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test
ISOLATION = $(patsubst test/isolation/specs/%.spec,%,$(sort $(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test/isolation --load-extension=pg_keep
EXTRA_CLEAN = results output_iso tmp_check regression.diffs regression.out .check

PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)
ifeq ($(and $(PGXS),$(wildcard $(PGXS))),)
$(error pg_keep needs PostgreSQL 15 or later with its build files, and "$(PG_CONFIG)" does not lead to one. \
On Debian: apt-get install postgresql postgresql-server-dev-NN. Elsewhere: make PG_CONFIG=/path/to/pg_config. \
"make check" and "make demo" install what is missing themselves)
endif

# Bitcode for the JIT is optional: leave it out where the compiler for it is not installed.
PG_CLANG := $(shell sed -n 's/^CLANG *= *//p' $(dir $(PGXS))../Makefile.global)
ifeq ($(shell command -v '$(PG_CLANG)'),)
override with_llvm := no
endif

include $(PGXS)

$(OBJS) $(OBJS:.o=.bc): $(wildcard src/*.h)

$(DATA_built): $(sort $(wildcard sql/[0-9][0-9]-*.sql))
	cat $^ > $@.tmp
	mv $@.tmp $@

endif
