#!/usr/bin/env bash
# The peers that Postroom is measured against: a private Postfix that hands mail by LMTP to
# a private Dovecot (sdbox), both from Debian's packages, with their own configuration and
# spool below DIR, on loopback only. fsync stays as both ship it.
#
#   bench/peers.sh start DIR PORT_BASE USERS DOMAIN PASSWORD
#   bench/peers.sh start-dovecot DIR PORT_BASE USERS DOMAIN PASSWORD
#   bench/peers.sh stop DIR
#
# Ports: base + 25 SMTP, + 143 IMAP (STARTTLS), + 993 IMAPS, + 110 POP3.  Needs root, as
# Postfix's master does. Exit status 77: the packages or root are not there. The system's
# own services are neither started nor touched. $POSTROOM_DOVECOT_CONF: more lines for Dovecot;
# $POSTROOM_BENCH_UNSYNCED: Dovecot without fsync, for filling.
set -euo pipefail

start_dovecot() { # DIR BASE USERS DOMAIN PASSWORD
	local dir=$1 base=$2 users=$3 domain=$4 password=$5 d=$1/dovecot i
	mkdir -p "$d/run" "$d/mail"
	id dovecot >/dev/null && chown 65534:65534 "$d/mail"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
		-subj /CN=localhost -keyout "$d/key.pem" -out "$d/cert.pem" 2>/dev/null
	for ((i = 0; i < users; i++)); do
		echo "user$i@$domain:{PLAIN}$password"
	done >"$d/passwd"
	chmod 644 "$d/passwd"
	# Only limits differ from what is shipped: as many clients as the bench opens.
	cat >"$d/dovecot.conf" <<CONF
base_dir = $d/run
state_dir = $d/state
log_path = $d/log
protocols = imap pop3 lmtp
listen = 127.0.0.1
ssl = yes
ssl_cert = <$d/cert.pem
ssl_key = <$d/key.pem
disable_plaintext_auth = no
mail_location = sdbox:$d/mail/%n
mail_uid = 65534
mail_gid = 65534
first_valid_uid = 1000
mail_max_userip_connections = 10000
default_client_limit = 12000
default_process_limit = 3000
passdb {
  driver = passwd-file
  args = scheme=plain username_format=%u $d/passwd
}
userdb {
  driver = static
  args = uid=65534 gid=65534 home=$d/mail/%n
}
namespace inbox {
  inbox = yes
}
service anvil {
  client_limit = 20000
}
service auth {
  client_limit = 20000
}
service imap-login {
  inet_listener imap {
    port = $((base + 143))
  }
  inet_listener imaps {
    port = $((base + 993))
    ssl = yes
  }
}
service pop3-login {
  inet_listener pop3 {
    port = $((base + 110))
  }
  inet_listener pop3s {
    port = 0
  }
}
service lmtp {
  unix_listener $dir/lmtp.sock {
    mode = 0666
  }
}
CONF
	[ -z "${POSTROOM_BENCH_UNSYNCED:-}" ] || echo "mail_fsync = never" >>"$d/dovecot.conf"
	printf '%s\n' "${POSTROOM_DOVECOT_CONF:-}" >>"$d/dovecot.conf"
	(ulimit -n "$(ulimit -Hn)" && exec dovecot -c "$d/dovecot.conf")
}

start_postfix() { # DIR BASE DOMAIN
	local dir=$1 base=$2 domain=$3 p=$1/postfix
	mkdir -p "$p/etc" "$p/spool" "$p/data"
	chown postfix "$p/data"
	cat >"$p/etc/main.cf" <<CONF
compatibility_level = 3.6
queue_directory = $p/spool
data_directory = $p/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mail.$domain
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = $domain
virtual_transport = lmtp:unix:$dir/lmtp.sock
smtpd_tls_security_level = may
smtpd_tls_cert_file = $dir/dovecot/cert.pem
smtpd_tls_key_file = $dir/dovecot/key.pem
smtpd_client_connection_count_limit = 0
default_process_limit = 200
maillog_file = /var/log/postroom-bench-postfix.$$.log
CONF
	sed -e "s/^smtp  *inet.*smtpd$/127.0.0.1:$((base + 25)) inet n - n - - smtpd/" \
		-e '/^[a-z]/s/^\([^ ]* *[a-z]* *[-yn]* *[-yn]* *\)y /\1n /' \
		/usr/share/postfix/master.cf.dist >"$p/etc/master.cf"
	grep -q "^127.0.0.1:" "$p/etc/master.cf" || {
		echo "peers: master.cf.dist has no smtp line" >&2
		return 1
	}
	postfix -c "$p/etc" start >"$p/start.log" 2>&1 || {
		cat "$p/start.log" >&2
		return 1
	}
}

case ${1:-} in
start)
	command -v postfix >/dev/null && command -v dovecot >/dev/null &&
		[ "$(id -u)" = 0 ] || exit 77
	mkdir -p "$2"
	chmod 755 "$2"
	start_dovecot "$2" "$3" "$4" "$5" "$6"
	start_postfix "$2" "$3" "$5"
	;;
start-dovecot) # as start, without Postfix: for what needs no SMTP
	command -v dovecot >/dev/null && [ "$(id -u)" = 0 ] || exit 77
	mkdir -p "$2"
	chmod 755 "$2"
	start_dovecot "$2" "$3" "$4" "$5" "$6"
	;;
stop)
	[ -f "$2/postfix/etc/main.cf" ] && {
		log=$(postconf -c "$2/postfix/etc" -h maillog_file)
		postfix -c "$2/postfix/etc" stop >/dev/null 2>&1 || true
		rm -f "$log"
	}
	[ -f "$2/dovecot/run/master.pid" ] && kill "$(cat "$2/dovecot/run/master.pid")"
	exit 0
	;;
*)
	sed -n 's/^# \{0,1\}//;2,13p' "$0" >&2
	exit 64
	;;
esac
