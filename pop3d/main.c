/*
 * postroom-pop3d: hands mail over by POP3 and removes what was fetched.
 */
#include "pop3d/pop3_session.h"

int
main(int argc, char **argv)
{
	static const struct service_options options = {
	    .daemon = "pop3d",
	    .sasl_service = "pop",
	    .protocols = {CONF_POP3},
	    .protocol_count = 1,
	    .refuse_text =
		SLICE("-ERR [SYS/TEMP] too many connections, try again later\r\n"),
	    .accept = pop3_session_accept,
	    .worker_start = pop3_sessions_start,
	    .worker_stop = pop3_sessions_stop,
	};
	return service_main(argc, argv, &options);
}
