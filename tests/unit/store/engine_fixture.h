/*
 * Temporary engines for the engine's tests: a fresh one a test, in memory or below a new
 * folder in $TMPDIR, checked and removed afterwards.  Header only: included by each
 * test_engine*.c.
 */
#ifndef UNIT_STORE_ENGINE_FIXTURE_H
#define UNIT_STORE_ENGINE_FIXTURE_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/file.h"
#include "store/engine.h"

struct fixture {
	struct engine *engine;
	char path[200]; /* empty: in memory */
};

static inline void
fixture_path_make(char *path, size_t size)
{
	const char *tmp = getenv("TMPDIR");
	snprintf(path, size, "%s/postroom-engine-XXXXXX", tmp ? tmp : "/tmp");
	ENSURE(mkdtemp(path));
}

static inline void
fixture_path_remove(const char *path)
{
	file_tree_remove(path);
}

static inline struct engine *
fixture_open(const char *path)
{
	struct engine_options options = {
	    .path = path,
	    .map_size = (uint64_t)1 << 30,
	    .shards = 2,
	    .segment_size = 1 << 20,
	    .create = true,
	    .sync = true,
	};
	struct engine *engine = NULL;
	char *error = NULL;
	enum status status = engine_open(&options, &engine, &error);
	if (status != STATUS_OK)
		fprintf(stderr, "engine_open: %s: %s\n", status_text(status), error);
	ENSURE(status == STATUS_OK);
	return engine;
}

static inline int
fixture_setup_mem(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof *fixture);
	fixture->engine = engine_open_mem(0);
	*state = fixture;
	return 0;
}

static inline int
fixture_setup_mem_reruns(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof *fixture);
	fixture->engine = engine_open_mem(4711);
	*state = fixture;
	return 0;
}

static inline int
fixture_setup_lmdb(void **state)
{
	struct fixture *fixture = xcalloc(1, sizeof *fixture);
	fixture_path_make(fixture->path, sizeof fixture->path);
	fixture->engine = fixture_open(fixture->path);
	*state = fixture;
	return 0;
}

static inline struct engine *
fixture_engine(void **state)
{
	return ((struct fixture *)*state)->engine;
}

static inline void
fixture_problem(const char *problem, void *arg)
{
	fprintf(stderr, "engine_check: %s\n", problem);
	++*(int *)arg;
}

static inline void
fixture_check(struct engine *engine)
{
	int problems = 0;
	ENSURE(engine_check(engine, fixture_problem, &problems) == STATUS_OK);
	ENSURE(problems == 0);
}

static inline void
fixture_close(void **state)
{
	struct fixture *fixture = *state;
	engine_close(&fixture->engine);
}

static inline int
fixture_teardown(void **state)
{
	struct fixture *fixture = *state;
	engine_close(&fixture->engine);
	if (fixture->path[0])
		fixture_path_remove(fixture->path);
	free(fixture);
	return 0;
}

#endif
