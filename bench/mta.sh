#!/usr/bin/env bash
# Private relays as peers, from Debian's packages unpacked beside the system (they cannot be
# installed beside Postfix) into /var/tmp/postroom-opensmtpd and -exim; nothing is installed.
#
#   bench/mta.sh fetch opensmtpd|exim
#   bench/mta.sh run opensmtpd|exim DIR PORT SINK-PORT     stays in the foreground
#   bench/mta.sh flush opensmtpd|exim DIR PID              tries all that waits at once
#
# All mail to PORT of 127.0.0.1 goes to SINK-PORT of 127.0.0.1 in clear.  As shipped but for
# limits: 20 connections out, as many in as come, deferred mail waits for an hour.  Both have
# paths and users compiled in: they run in a mount namespace of their own, where /etc, /run,
# /var/spool and /var/lib are folders below DIR.  Needs root.  Exit status 77: root or the
# packages are not there.
set -euo pipefail

home_of() { echo "${POSTROOM_MTA:-/var/tmp/postroom}-$1"; }

fetch() { # opensmtpd|exim
	local home work packages binary deb
	home=$(home_of "$1")
	case $1 in
	opensmtpd) packages=(opensmtpd) binary=usr/sbin/smtpd ;;
	exim) packages=(exim4-base exim4-daemon-light) binary=usr/sbin/exim4 ;;
	*) usage ;;
	esac
	[ -x "$home/$binary" ] && return 0
	work=$(mktemp -d /tmp/postroom-mta.XXXXXX)
	(cd "$work" && apt-get -q -o APT::Sandbox::User=root download "${packages[@]}") >"$work/log" 2>&1 || {
		tail -n 3 "$work/log" >&2
		rm -rf "$work"
		echo "mta: could not download ${packages[*]}" >&2
		return 77
	}
	mkdir -p "$home"
	for deb in "$work"/*.deb; do dpkg-deb -x "$deb" "$home"; done
	rm -rf "$work"
	find "$home" -perm /6000 -exec chmod ug-s {} + # no set-user-id program lies about
	chmod 755 "$home"
	if ldd "$home/$binary" | grep 'not found' >&2; then
		echo "mta: install the libraries of ${packages[*]}" >&2
		return 77
	fi
}

opensmtpd_conf() { # PORT SINK
	cat <<CONF
listen on 127.0.0.1 port $1 hostname mail.demo.test
mta limit max-conn-per-host 20
mta limit max-conn-per-route 20
mta limit max-conn-per-connector 20
mta limit reconn-delay-route 0
mta limit conn-delay-relay 0
mta limit session-mail-max 100000
action "out" relay host smtp://127.0.0.1:$2
match from any for any action "out"
CONF
}

exim_conf() { # PORT SINK
	cat <<CONF
primary_hostname = mail.demo.test
spool_directory = /var/spool/exim4
log_file_path = /var/spool/exim4/log/%slog
local_interfaces = 127.0.0.1
daemon_smtp_ports = $1
deliver_drop_privilege = yes
split_spool_directory = yes
smtp_accept_max = 500
smtp_accept_max_per_connection = 0
smtp_accept_queue_per_connection = 0
queue_run_max = 20
remote_max_parallel = 20
rfc1413_query_timeout = 0s
host_lookup =
keep_environment =
never_users =
tls_advertise_hosts =
acl_smtp_rcpt = take
begin acl
take:
	accept
begin routers
out:
	driver = manualroute
	route_list = * 127.0.0.1
	self = send
	transport = out
begin transports
out:
	driver = smtp
	port = $2
	allow_localhost
begin retry
* * F,4d,1h
CONF
}

run() { # NAME DIR PORT SINK
	local name=$1 dir=$2 home f
	[ "$(id -u)" = 0 ] || { echo "mta: needs root" >&2; return 77; }
	fetch "$name" || return 77
	home=$(home_of "$name")
	mkdir -p "$dir"/{etc/exim4,run,spool,lib}
	chmod 755 "$dir"
	for f in hosts resolv.conf nsswitch.conf services protocols ld.so.cache ssl; do
		[ ! -e "/etc/$f" ] || cp -aL "/etc/$f" "$dir/etc/"
	done
	cp /etc/passwd /etc/group "$dir/etc/"
	for f in opensmtpd opensmtpq Debian-exim; do
		grep -q "^$f:" "$dir/etc/group" || echo "$f:x:$((61900 + ${#f} + $(printf %d "'${f: -1}"))):" >>"$dir/etc/group"
		grep -q "^$f:" "$dir/etc/passwd" || {
			f+=:x:$(sed -n "s/^$f:x:\([0-9]*\):.*/\1/p" "$dir/etc/group")
			echo "$f:${f##*:}::/var/lib/opensmtpd/empty:/bin/false" >>"$dir/etc/passwd"
		}
	done
	echo mail.demo.test >"$dir/etc/mailname"
	opensmtpd_conf "$3" "$4" >"$dir/etc/smtpd.conf"
	exim_conf "$3" "$4" >"$dir/etc/exim4/exim4.conf"
	mkdir -p "$dir/lib/opensmtpd/empty" "$dir/spool/smtpd" "$dir/spool/exim4/log"
	chmod 711 "$dir/spool/smtpd"
	chown -R "$(sed -n 's/^Debian-exim:x:\([0-9]*\):.*/\1:\1/p' "$dir/etc/group")" "$dir/spool/exim4"
	exec unshare --mount --propagation private -- bash -c '
		home=$1 dir=$2
		mount --bind "$dir/run" /run
		mount --bind "$dir/spool" /var/spool
		mount --bind "$dir/lib" /var/lib
		[ ! -d "$home/usr/libexec" ] || mount --bind "$home/usr/libexec" /usr/libexec
		mount --bind "$dir/etc" /etc
		ulimit -n "$(ulimit -Hn)"
		exec "${@:3}"' bash "$home" "$dir" $(daemon "$name" "$home")
}

daemon() { # NAME HOME
	if [ "$1" = exim ]; then echo "$2/usr/sbin/exim4 -bdf"; else echo "$2/usr/sbin/smtpd -F"; fi
}

flush() { # NAME DIR PID: of the daemon, whose namespace is entered
	local home i
	home=$(home_of "$1")
	if [ "$1" = opensmtpd ]; then
		nsenter -t "$3" -m "$home/usr/sbin/smtpctl" schedule all
	else
		# A runner delivers one message after the other: as many as there may be connections.
		for ((i = 0; i < 20; i++)); do nsenter -t "$3" -m "$home/usr/sbin/exim4" -qff; done
	fi
}

usage() {
	sed -n 's/^# \{0,1\}//;2,14p' "$0" >&2
	exit 64
}

[ $# -ge 2 ] || usage
case $1 in
fetch | run | flush) "$@" ;;
*) usage ;;
esac
