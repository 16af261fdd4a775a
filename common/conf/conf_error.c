/*
 * What is wrong with a configuration: a list of lines that grows to a limit.
 */
#include "conf/conf_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"

void
conf_error_add(struct conf_errors *errors, const char *file, int line, bool warning,
    const char *format, ...)
{
	char text[CONF_MESSAGE_BYTES_MAX];
	va_list args;

	if (errors->count > CONF_ERRORS_MAX ||
	    (warning && errors->count >= CONF_WARNINGS_MAX))
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (errors->count == CONF_ERRORS_MAX)
		(void)snprintf(
		    text, sizeof(text), "there is more wrong; these come first");
	/* A message is one line, whatever the file holds. */
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
	errors->items =
	    xrealloc(errors->items, (errors->count + 1) * sizeof(*errors->items));
	errors->items[errors->count++] =
	    (struct conf_error){xstrdup(file), line, xstrdup(text), warning};
}

void
conf_errors_free(struct conf_errors *errors)
{
	for (size_t i = 0; i < errors->count; i++) {
		free(errors->items[i].file);
		free(errors->items[i].text);
	}
	free(errors->items);
	*errors = (struct conf_errors){NULL, 0};
}

bool
conf_errors_fatal(const struct conf_errors *errors, size_t first)
{
	for (size_t i = first; i < errors->count; i++)
		if (!errors->items[i].warning)
			return true;
	return false;
}

void
conf_errors_sort(struct conf_errors *errors, size_t first)
{
	struct conf_error *items = errors->items;

	/* Insertion: few, and equal lines keep their order.  Line 0 wraps to the end. */
	for (size_t i = first + 1; i < errors->count; i++) {
		struct conf_error one = items[i];
		unsigned line = (unsigned)one.line - 1;
		size_t j = i;
		for (; j > first && (unsigned)items[j - 1].line - 1 > line; j--)
			items[j] = items[j - 1];
		items[j] = one;
	}
}
