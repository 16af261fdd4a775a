/*
 * The decision table for recipients; see smtp_route.h.
 */
#include "service/smtp_route.h"

enum smtp_route
smtp_route_decide(const struct smtp_route_facts *facts)
{
	switch (facts->answer) {
	case DIRECTORY_NOT_LOCAL:
		return facts->authenticated || facts->trusted ? SMTP_ROUTE_RELAY
		                                              : SMTP_ROUTE_DENIED;
	case DIRECTORY_UNKNOWN_USER:
		return SMTP_ROUTE_UNKNOWN;
	case DIRECTORY_LOOP:
		return SMTP_ROUTE_LOOP;
	case DIRECTORY_TARGETS:
		/* An alias to elsewhere is the operator's wish: no relaying. */
		if (facts->targets == 0)
			return SMTP_ROUTE_UNKNOWN;
		return facts->over_quota == facts->targets ? SMTP_ROUTE_QUOTA
		                                           : SMTP_ROUTE_TARGETS;
	}
	return SMTP_ROUTE_DENIED;
}
