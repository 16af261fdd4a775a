/*
 * HTTPS requests; see http.h.  A thread lives as long as its request.  The pool belongs
 * to the loop's thread and is never freed: it lives as long as the daemon, since a thread
 * may still hold a request of it when the daemon ends.
 */
#include "net/http.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"

struct http_pool {
	struct loop *loop;
	struct list waiting; /* struct http_job */
	size_t waiting_count;
	unsigned running;
};

struct http_job {
	struct list node;
	struct http_pool *pool;
	http_fn fn;
	void *arg;
	char *url, *address, *ca_file;
	uint64_t timeout_ms;
	/* the thread's, then the loop's */
	struct buf body;
	long code;
	char type[128];
	char error[CURL_ERROR_SIZE + 64];
};

static void job_begin(struct http_job *job);

struct http_pool *
http_pool_new(struct loop *loop)
{
	struct http_pool *pool = xcalloc(1, sizeof(*pool));
	ENSURE(curl_global_init(CURL_GLOBAL_DEFAULT) == 0);
	pool->loop = loop;
	list_init(&pool->waiting);
	return pool;
}

static void
job_free(struct http_job *job)
{
	buf_fini(&job->body);
	free(job->url);
	free(job->address);
	free(job->ca_file);
	free(job);
}

/* On the loop. */
static void
job_done(void *arg)
{
	struct http_job *job = arg;
	struct http_pool *pool = job->pool;
	struct http_answer answer = {
	    .code = (int)job->code,
	    .body = buf_slice(&job->body),
	    .type = job->type,
	    .error = job->error,
	};
	job->fn(&answer, job->arg);
	job_free(job);
	pool->running--;
	struct list *node = list_pop(&pool->waiting);
	if (!node)
		return;
	pool->waiting_count--;
	job_begin(LIST_ENTRY(node, struct http_job, node));
}

static size_t
body_take(char *bytes, size_t size, size_t count, void *arg)
{
	struct buf *body = arg;
	buf_append(body, slice_make(bytes, size * count));
	/* Anything but the whole ends the request. */
	return buf_ok(body) ? size * count : 0;
}

/* Where the name stands: the request goes to the address, TLS and Host by the name. */
static struct curl_slist *
connect_to(const struct http_job *job)
{
	char text[128];
	bool v6 = strchr(job->address, ':') != NULL;
	snprintf(
	    text, sizeof(text), "::%s%s%s:", v6 ? "[" : "", job->address, v6 ? "]" : "");
	return curl_slist_append(NULL, text);
}

static void
request_set(CURL *curl, struct http_job *job, struct curl_slist *to)
{
	curl_easy_setopt(curl, CURLOPT_URL, job->url);
	curl_easy_setopt(curl, CURLOPT_CONNECT_TO, to);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)job->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "postroom");
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, body_take);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &job->body);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, job->error);
	if (job->ca_file[0] != '\0')
		curl_easy_setopt(curl, CURLOPT_CAINFO, job->ca_file);
}

static void *
job_thread(void *arg)
{
	struct http_job *job = arg;
	CURL *curl = curl_easy_init();
	struct curl_slist *to = connect_to(job);
	ENSURE(curl && to);
	request_set(curl, job, to);
	CURLcode result = curl_easy_perform(curl);
	const char *type = NULL;
	if (result == CURLE_OK) {
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &job->code);
		curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
	} else if (job->error[0] == '\0') {
		snprintf(
		    job->error, sizeof(job->error), "%s", curl_easy_strerror(result));
	}
	snprintf(job->type, sizeof(job->type), "%s", type ? type : "");
	curl_easy_cleanup(curl);
	curl_slist_free_all(to);
	loop_post(job->pool->loop, job_done, job);
	return NULL;
}

static void
job_begin(struct http_job *job)
{
	pthread_t thread;
	sigset_t all, old;
	job->pool->running++;
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int error = pthread_create(&thread, NULL, job_thread, job);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error == 0) {
		pthread_detach(thread);
		return;
	}
	snprintf(job->error, sizeof(job->error), "no thread could be started");
	loop_post(job->pool->loop, job_done, job);
}

void
http_get(
    struct http_pool *pool, const struct http_request *request, http_fn fn, void *arg)
{
	struct http_job *job = xcalloc(1, sizeof(*job));
	job->pool = pool;
	job->fn = fn;
	job->arg = arg;
	job->url = xstrdup(request->url);
	job->address = xstrdup(request->address);
	job->ca_file = xstrdup(request->ca_file ? request->ca_file : "");
	job->timeout_ms = request->timeout_ms;
	buf_init(&job->body, request->size_max);
	if (pool->running < HTTP_THREADS_MAX) {
		job_begin(job);
	} else if (pool->waiting_count < HTTP_WAITING_MAX) {
		pool->waiting_count++;
		list_append(&pool->waiting, &job->node);
	} else {
		pool->running++;
		snprintf(job->error, sizeof(job->error), "too many requests are waiting");
		loop_post(pool->loop, job_done, job);
	}
}
