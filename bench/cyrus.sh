#!/usr/bin/env bash
# A private Cyrus IMAP server as a peer: imapd, pop3d, idled and lmtpd from Debian's packages,
# as shipped but for raised limits and preforked processes, on loopback only, with all its
# files below DIR.
#
#   bench/cyrus.sh fetch                                   downloads and unpacks, once
#   bench/cyrus.sh start DIR PORT_BASE USERS DOMAIN PASSWORD
#   bench/cyrus.sh stop DIR
#   bench/cyrus.sh pid DIR                                 the master's process id
#
# Debian's cyrus-imapd cannot be installed beside dovecot-imapd: its packages are unpacked
# below $POSTROOM_CYRUS (/var/tmp/postroom-cyrus) and run from there; nothing is installed and
# nothing of the system's is started. `start` fetches when nothing is there.  Ports: base + 143
# IMAP (STARTTLS), + 993 IMAPS, + 110 POP3.  Needs root.  Exit status 77: root, the packages,
# or libraries that they need (those of cyrus-common) are not there.  $POSTROOM_CYRUS_CONF:
# more lines for imapd.conf; $POSTROOM_BENCH_UNSYNCED: without fsync (libeatmydata), for filling.
#   bench/cyrus.sh run DIR TOOL [ARG...]                   a tool of Cyrus as its user
set -euo pipefail
home=${POSTROOM_CYRUS:-/var/tmp/postroom-cyrus}
bin=$home/usr/lib/cyrus/bin
PACKAGES=(cyrus-common cyrus-imapd cyrus-pop3d sasl2-bin libeatmydata1)
unsynced=$home/usr/lib/x86_64-linux-gnu/libeatmydata.so.1

fetch() {
	[ -x "$bin/imapd" ] && [ -x "$bin/pop3d" ] && [ -x "$home/usr/sbin/saslpasswd2" ] &&
		[ -e "$unsynced" ] && return 0
	local work deb
	work=$(mktemp -d /tmp/postroom-cyrus.XXXXXX)
	(cd "$work" && apt-get -q -o APT::Sandbox::User=root download "${PACKAGES[@]}") >"$work/log" 2>&1 || {
		tail -n 3 "$work/log" >&2
		rm -rf "$work"
		echo "cyrus: could not download ${PACKAGES[*]}" >&2
		return 77
	}
	mkdir -p "$home"
	for deb in "$work"/*.deb; do dpkg-deb -x "$deb" "$home"; done
	rm -rf "$work"
	chmod 755 "$home"
}

start() { # DIR BASE USERS DOMAIN PASSWORD
	local dir=$1 base=$2 users=$3 domain=$4 password=$5 c=$1/cyrus i
	[ "$(id -u)" = 0 ] || { echo "cyrus: needs root" >&2; return 77; }
	fetch || return 77
	id cyrus >/dev/null 2>&1 || { echo "cyrus: no user cyrus (cyrus-common)" >&2; return 77; }
	export LD_LIBRARY_PATH=$home/usr/lib:$home/usr/lib/x86_64-linux-gnu
	if ldd "$bin/master" "$bin/imapd" "$home/usr/sbin/saslpasswd2" 2>&1 | grep 'not found'; then
		echo "cyrus: install what cyrus-common depends on" >&2
		return 77
	fi
	mkdir -p "$c/conf/socket" "$c/spool" "$c/run/proc" "$c/run/lock" "$c/run/socket"
	chmod 755 "$dir"
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 \
		-subj /CN=localhost -keyout "$c/key.pem" -out "$c/cert.pem" 2>/dev/null
	for ((i = 0; i < users; i++)); do
		echo "$password" |
			"$home/usr/sbin/saslpasswd2" -p -c -f "$c/sasldb2" -u "$domain" "user$i"
	done
	cat >"$c/imapd.conf" <<CONF
configdirectory: $c/conf
proc_path: $c/run/proc
mboxname_lockpath: $c/run/lock
idlesocket: $c/run/socket/idle
lmtpsocket: $c/run/socket/lmtp
defaultpartition: default
partition-default: $c/spool
virtdomains: userid
admins: cyrus
autocreate_quota: 0
allowplaintext: yes
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: $c/sasldb2
sasl_mech_list: PLAIN LOGIN
tls_server_cert: $c/cert.pem
tls_server_key: $c/key.pem
popminpoll: 0
hashimapspool: true
conversations: ${POSTROOM_CYRUS_CONVERSATIONS:-no}
servername: mail.$domain
${POSTROOM_CYRUS_CONF:-}
CONF
	cat >"$c/cyrus.conf" <<CONF
START {
	recover cmd="$bin/ctl_cyrusdb -C $c/imapd.conf -r"
}
SERVICES {
	imap cmd="$bin/imapd -C $c/imapd.conf" listen="127.0.0.1:$((base + 143))" prefork=8 maxchild=-1
	imaps cmd="$bin/imapd -C $c/imapd.conf -s" listen="127.0.0.1:$((base + 993))" prefork=8 maxchild=-1
	pop3 cmd="$bin/pop3d -C $c/imapd.conf" listen="127.0.0.1:$((base + 110))" prefork=4 maxchild=-1
}
DAEMON {
	idled cmd="$bin/idled -C $c/imapd.conf"
}
CONF
	chown -R cyrus "$c"
	[ -z "${POSTROOM_BENCH_UNSYNCED:-}" ] || export LD_PRELOAD=$unsynced
	(ulimit -n "$(ulimit -Hn)" && exec "$bin/master" -C "$c/imapd.conf" -M "$c/cyrus.conf" \
		-p "$c/master.pid" -d) >"$c/start.log" 2>&1 </dev/null
	for ((i = 0; i < 100; i++)); do
		(exec 3<>"/dev/tcp/127.0.0.1/$((base + 143))") 2>/dev/null && return 0
		sleep 0.1
	done
	cat "$c/start.log" >&2
	echo "cyrus: does not listen" >&2
	return 1
}

stop() { # DIR
	local pid i
	[ -s "$1/cyrus/master.pid" ] || return 0
	pid=$(cat "$1/cyrus/master.pid")
	kill "$pid" 2>/dev/null || return 0
	for ((i = 0; i < 100; i++)); do
		kill -0 "$pid" 2>/dev/null || return 0
		sleep 0.1
	done
	kill -KILL -- "-$pid" 2>/dev/null || kill -KILL "$pid" 2>/dev/null || true
}

run_tool() { # DIR TOOL ARG...
	export LD_LIBRARY_PATH=$home/usr/lib:$home/usr/lib/x86_64-linux-gnu
	exec setpriv --reuid cyrus --regid mail --init-groups \
		"$bin/$2" -C "$1/cyrus/imapd.conf" "${@:3}"
}

case ${1:-} in
run) shift && run_tool "$@" ;;
fetch) fetch ;;
start) shift && start "$@" ;;
stop) stop "$2" ;;
pid) cat "$2/cyrus/master.pid" ;;
*)
	sed -n 's/^# \{0,1\}//;2,19p' "$0" >&2
	exit 64
	;;
esac
