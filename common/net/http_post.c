/*
 * A blocking POST; see http_post.h.
 *
 * Thread: any of the pool; nothing is shared.
 */
#include "net/http_post.h"

#include <curl/curl.h>
#include <pthread.h>

#include "base/ensure.h"
#include "base/log.h"

static void
curl_start(void)
{
	ENSURE(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

static size_t
take_answer(char *bytes, size_t size, size_t count, void *arg)
{
	struct buf *answer = arg;

	buf_append(answer, slice_make(bytes, size * count));
	return buf_ok(answer) ? size * count : 0;
}

static void
request_prepare(CURL *curl, const struct http_post *request, struct buf *answer)
{
	curl_easy_setopt(curl, CURLOPT_URL, request->url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->form);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "postroom/" POSTROOM_VERSION);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_answer);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
	if (request->ca_file && *request->ca_file)
		curl_easy_setopt(curl, CURLOPT_CAINFO, request->ca_file);
	if (request->login && *request->login) {
		curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
		curl_easy_setopt(curl, CURLOPT_USERPWD, request->login);
	}
}

enum status
http_post(const struct http_post *request, struct buf *answer)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	long code = 0;

	ENSURE(pthread_once(&once, curl_start) == 0);
	CURL *curl = curl_easy_init();
	ENSURE(curl);
	request_prepare(curl, request, answer);
	CURLcode result = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
	curl_easy_cleanup(curl);
	if (!buf_ok(answer))
		return STATUS_LIMIT;
	if (result == CURLE_OK && code == 200)
		return STATUS_OK;
	LOG_DEBUG("http.fail", LF_STR("reason", curl_easy_strerror(result)),
	    LF_U64("code", (uint64_t)code));
	return STATUS_IO;
}
