/*
 * A blocking POST; see http_post.h.
 *
 * Thread: any of the pool; nothing is shared.
 */
#include "net/http_post.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/ensure.h"
#include "base/log.h"
#include "net/private_address.h"

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

/* curl_opensocket_callback: the address that the name has led to. */
static curl_socket_t
open_public(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	(void)arg;
	(void)purpose;
	if (address_is_private(&address->addr))
		return CURL_SOCKET_BAD;
	return socket(
	    address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* curl_xferinfo_callback */
static int
check_stop(
    void *arg, curl_off_t in_all, curl_off_t in, curl_off_t out_all, curl_off_t out)
{
	(void)in_all;
	(void)in;
	(void)out_all;
	(void)out;
	return atomic_load((const atomic_bool *)arg);
}

static struct curl_slist *
headers_make(const struct http_post *request)
{
	char type[200];
	snprintf(type, sizeof(type), "Content-Type: %s", request->type);
	struct curl_slist *headers = curl_slist_append(NULL, type);
	ENSURE(headers);
	for (size_t i = 0; request->headers && request->headers[i]; i++)
		ENSURE(curl_slist_append(headers, request->headers[i]));
	return headers;
}

static void
request_prepare(CURL *curl, const struct http_post *request, struct buf *answer)
{
	curl_easy_setopt(curl, CURLOPT_URL, request->url);
	curl_easy_setopt(
	    curl, CURLOPT_PROTOCOLS_STR, request->anywhere ? "http,https" : "https");
	if (!request->anywhere)
		curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, open_public);
	if (request->stop) {
		curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
		curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, check_stop);
		curl_easy_setopt(curl, CURLOPT_XFERINFODATA, (void *)request->stop);
	}
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body.ptr);
	curl_easy_setopt(
	    curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
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
http_post(const struct http_post *request, struct buf *answer, long *out_code)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	long code = 0;

	ENSURE(pthread_once(&once, curl_start) == 0);
	CURL *curl = curl_easy_init();
	ENSURE(curl);
	struct curl_slist *headers = headers_make(request);
	request_prepare(curl, request, answer);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	CURLcode result = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	if (out_code)
		*out_code = result == CURLE_OK ? code : 0;
	if (!buf_ok(answer))
		return STATUS_LIMIT;
	if (result == CURLE_OK && code >= 200 && code <= 299)
		return STATUS_OK;
	LOG_DEBUG("http.fail", LF_STR("reason", curl_easy_strerror(result)),
	    LF_U64("code", (uint64_t)code));
	return STATUS_IO;
}
