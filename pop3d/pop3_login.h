/*
 * When accounts logged in last, for LOGIN-DELAY (RFC 2449 sections 6.5 and 8.1.2).  In
 * this process only, and for a bounded number of accounts: one that is forgotten may log
 * in sooner, no harm done.  Any thread.
 */
#ifndef POP3D_POP3_LOGIN_H
#define POP3D_POP3_LOGIN_H

#include "store/store.h"

enum { POP3_LOGINS_MAX = 16 * 1024 }; /* accounts remembered */

/* Milliseconds that the account has to wait still; 0: it may log in. */
uint64_t pop3_login_wait_ms(struct account_id account, uint64_t delay_ms);
/* It has logged in now. */
void pop3_login_note(struct account_id account);

#endif
