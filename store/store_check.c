/*
 * `postroom check` for the store: runs over accounts, directory, queue, bodies and the
 * engine, and tells every broken invariant by its number.
 *
 * Online: each account, the directory and the queue are looked at in one snapshot of
 * their own, so a check sees no half of a change and holds no snapshot for long.  What
 * spans two environments (directory against account partitions) is looked at again in
 * new snapshots before it is told.
 */
#include "store/store_check_int.h"

#include <stdarg.h>
#include <stdio.h>

void
check_where(struct check *check, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	(void)vsnprintf(check->where, sizeof(check->where), format, args);
	va_end(args);
}

void
check_problem(struct check *check, int invariant, const char *format, ...)
{
	char what[CHECK_WHERE_MAX];
	char text[2 * CHECK_WHERE_MAX + 64];
	va_list args;
	check->totals->problems++;
	if (!check->options->problem)
		return;
	va_start(args, format);
	(void)vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	(void)snprintf(
	    text, sizeof(text), "%s: %s (invariant %d)", check->where, what, invariant);
	check->options->problem(text, check->options->arg);
}

static bool
add_partition(struct partition_id part, void *arg)
{
	struct partition_id *at = vec_push(arg, sizeof(*at));
	if (at)
		*at = part;
	return at != NULL;
}

enum status
check_partitions(struct check *check, struct vec *out)
{
	out->count = 0;
	return engine_partition_each(
	    check->reader->engine, PARTITION_ACCOUNT, add_partition, out);
}

static void
engine_problem(const char *problem, void *arg)
{
	check_problem(arg, 40, "%s", problem);
}

static enum status
check_accounts(struct check *check)
{
	struct vec parts = {NULL, 0, 0};
	enum status status = check_partitions(check, &parts);
	const struct partition_id *ids = parts.ptr;
	store_reader_end(check->reader);
	for (size_t i = 0; i < parts.count && status == STATUS_OK; i++) {
		struct account_id id;
		memcpy(id.v, ids[i].v, sizeof(id.v));
		status = check_account(check, id);
		store_reader_end(check->reader);
		if (check->options->progress)
			check->options->progress(i + 1, parts.count, check->options->arg);
	}
	vec_fini(&parts);
	return status;
}

enum status
store_check(struct store *store, const struct store_check_options *options,
    struct store_check_totals *out)
{
	struct store_check_totals totals = {0};
	struct check check = {.store = store, .options = options, .totals = &totals};
	check.reader = store_reader_new(store, NULL, NULL);
	enum status status = check_directory(&check);
	store_reader_end(check.reader);
	if (status == STATUS_OK)
		status = check_accounts(&check);
	if (status == STATUS_OK)
		status = check_queue(&check);
	store_reader_end(check.reader);
	if (status == STATUS_OK)
		status = check_bodies(&check);
	store_reader_free(&check.reader);
	if (status == STATUS_OK) {
		check_where(&check, "engine");
		status = engine_check(store->engine, engine_problem, &check);
	}
	*out = totals;
	return status;
}
