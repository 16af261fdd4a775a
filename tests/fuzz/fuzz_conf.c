/*
 * The configuration file: any bytes are refused with a reason or give a configuration,
 * and the answer is the same the second time.
 */
#include <stdlib.h>

#include "base/ensure.h"
#include "conf/conf.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_errors first = {NULL, 0}, second = {NULL, 0};
	struct slice text = slice_make((const char *)data, size);
	struct conf *one = conf_parse(text, "fuzz.conf", "/root", &first);
	struct conf *two = conf_parse(text, "fuzz.conf", NULL, &second);

	ENSURE(one || first.count > 0);
	ENSURE((one != NULL) == (two != NULL));
	ENSURE(first.count == second.count);
	for (size_t i = 0; i < first.count; i++) {
		ENSURE(first.items[i].line >= 0);
		ENSURE(strchr(first.items[i].text, '\n') == NULL);
	}
	if (one) {
		ENSURE(one->hostname && *one->hostname);
		ENSURE(one->relay.retry_count > 0 && *one->store.path);
	}
	conf_free(&one);
	conf_free(&two);
	conf_errors_free(&first);
	conf_errors_free(&second);
	return 0;
}
