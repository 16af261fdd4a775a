/*
 * The end of a process that found its own bug, and the allocation calls that cannot fail.
 *
 * ensure_failed() writes to standard error by itself, then through the log: when the log
 * is what broke, the first line is already out.  A second failure on the way is cut short
 * by a thread-local guard.  It aborts so that a core file shows the stack.
 */
#include "base/ensure.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

static _Thread_local const char *ensure_context;
static _Thread_local bool ensure_running;

void
ensure_context_set(const char *text)
{
	ensure_context = text;
}

_Noreturn void
ensure_failed(const char *file, int line, const char *text)
{
	if (!ensure_running) {
		ensure_running = true;
		const char *context = ensure_context ? ensure_context : "-";
		dprintf(STDERR_FILENO, "%s:%d: ensure failed: %s (%s)\n", file, line,
		    text, context);
		LOG_ERROR("ensure.failed", LF_STR("file", file), LF_U64("line", line),
		    LF_STR("check", text), LF_STR("context", context));
	}
	abort();
}

void *
obj_check(void *ptr, unsigned want, const char *file, int line)
{
	if (!ptr)
		ensure_failed(file, line, "object pointer is null");
	unsigned magic;
	memcpy(&magic, ptr, sizeof(magic));
	if (magic != want)
		ensure_failed(file, line, "object has the wrong magic");
	return ptr;
}

void *
xmalloc(size_t size)
{
	void *ptr = malloc(size ? size : 1);
	ENSURE(ptr);
	return ptr;
}

void *
xcalloc(size_t count, size_t size)
{
	void *ptr = count && size ? calloc(count, size) : calloc(1, 1);
	ENSURE(ptr);
	return ptr;
}

void *
xrealloc(void *ptr, size_t size)
{
	void *moved = realloc(ptr, size ? size : 1);
	ENSURE(moved);
	return moved;
}

char *
xstrdup(const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy = xmalloc(size);
	memcpy(copy, text, size);
	return copy;
}
