/*
 * postroom-imapd: gives service_main what is IMAP's.  Each worker thread has a struct
 * imap_worker; the loop, the store reader and their turn belong to the service.
 *
 * The search index is made here, by one thread beside the workers (store/search.h); other
 * store upkeep (store_maintain) is smtpd's.
 */
#include "base/ensure.h"
#include "imapd/imap_session.h"
#include "store/search.h"

static struct imap_stats stats;
static struct imap_recents recents;
static struct search_indexer *indexer;

static void
on_worker_start(struct service *service, struct worker *worker)
{
	struct imap_worker *w = xcalloc(1, sizeof(*w));

	imap_worker_init(
	    w, worker_loop(worker), service_reader(worker), &stats, &recents);
	w->service = service;
	service_worker_set_user(worker, w);
}

static void
on_worker_stop(struct service *service, struct worker *worker)
{
	(void)service;
	imap_worker_stop(service_worker_user(worker));
}

static void
on_accept(struct service *service, struct worker *worker, int fd,
    const struct listener *listener, struct worker_conn *token)
{
	(void)service;
	imap_session_new(service_worker_user(worker), fd, listener->tls, token);
}

static void
on_started(struct service *service, struct loop *main_loop)
{
	(void)main_loop;
	indexer = search_indexer_start(service_store(service));
}

static void
on_stopping(struct service *service)
{
	(void)service;
	search_indexer_stop(&indexer);
}

int
main(int argc, char **argv)
{
	static const struct service_options options = {
	    .daemon = "imapd",
	    .sasl_service = "imap",
	    .protocols = {CONF_IMAP},
	    .protocol_count = 1,
	    .refuse_text = { "* BYE [UNAVAILABLE] too many connections, try later\r\n",
			  53},
	    .accept = on_accept,
	    .worker_start = on_worker_start,
	    .worker_stop = on_worker_stop,
	    .started = on_started,
	    .stopping = on_stopping,
	};

	imap_stats_init(&stats);
	imap_recents_init(&recents);
	return service_main(argc, argv, &options);
}
