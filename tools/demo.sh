#!/usr/bin/env bash
# A running mail server to look at: a private instance on loopback with a demo domain, two
# accounts and sample mail delivered by real SMTP. Called by ./dev run; needs no root.
#
#   tools/demo.sh [--root DIR] [--port-base N] [--fresh]
#
# The instance keeps running in the background; running this again shows it again.
set -euo pipefail

top=$(dirname "$(dirname "$(readlink -f "$0")")")
bin=${POSTROOM_BIN:-$top/build/release/bin}
root=$top/build/demo
base=2000
fresh=
while [ $# -gt 0 ]; do
	case $1 in
	--root) root=$2; shift 2 ;;
	--port-base) base=$2; shift 2 ;;
	--fresh) fresh=1; shift ;;
	*) echo "demo: unknown argument $1 (--root DIR, --port-base N, --fresh)" >&2; exit 64 ;;
	esac
done
post() { "$bin/postroom" --root "$root" "$@"; }

if [ -n "$fresh" ] && [ -d "$root" ]; then
	post stop 2>/dev/null || true
	rm -rf "$root"
fi

sample() { # number from subject body
	printf 'From: %s\r\nTo: anna@demo.test, bob@demo.test\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <demo.%s@friends.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%b\r\n' \
		"$2" "$3" "$(LC_ALL=C date -u '+%a, %d %b %Y %H:%M:%S +0000')" "$1" "$4"
}
deliver() {
	sample "$@" | curl --silent --show-error --url "smtp://127.0.0.1:$((base + 25))/friends.test" \
		--mail-from "carol@friends.test" --mail-rcpt anna@demo.test --mail-rcpt bob@demo.test \
		--upload-file -
}

if [ ! -f "$root/etc/postroom.conf" ]; then
	mkdir -p "$(dirname "$root")"
	post --quiet init --hostname mail.demo.test --domain demo.test --port-base "$base"
	echo demo-anna-7312 | post --quiet account add anna@demo.test --password-stdin
	echo demo-bob-7312 | post --quiet account add bob@demo.test --password-stdin
	new=1
fi
post status >/dev/null 2>&1 || post --quiet start --detach
# An instance made earlier may use other ports than the default.
base=$(($(post status --json | sed -n '/"protocol": "imap"/,/}/s/.*"port": \([0-9]*\).*/\1/p' |
	sort -n | head -n 1) - 143))
if [ -n "${new:-}" ]; then
	deliver 1 'Carol <carol@friends.test>' 'Welcome to Postroom' 'Hello both,\r\n\r\nthis came in by SMTP on port 25.\r\n\r\nCarol'
	deliver 2 'Carol <carol@friends.test>' 'A second letter' 'Short.\r\n.A line that begins with a dot.'
	deliver 3 'Zoë <zoe@friends.test>' '=?utf-8?q?Gr=C3=BC=C3=9Fe?=' 'Grüße aus Köln ☃'
fi
cat <<TEXT
Postroom runs in $root (loopback only)
  read      IMAP  localhost $((base + 993)) TLS, or $((base + 143)) STARTTLS     POP3  localhost $((base + 995)) TLS, or $((base + 110)) STARTTLS
  send      SMTP  localhost $((base + 465)) TLS, or $((base + 587)) STARTTLS     same login as for reading
  receive   SMTP  localhost $((base + 25))
  logins    anna@demo.test demo-anna-7312        bob@demo.test demo-bob-7312
  trust     $root/etc/ca.pem, or accept the certificate once

  try       curl --cacert $root/etc/ca.pem -u anna@demo.test:demo-anna-7312 'imaps://localhost:$((base + 993))/INBOX;MAILINDEX=1'
            $bin/postroom --root $root trace anna@demo.test
            $bin/postroom --root $root status
  stop      $bin/postroom --root $root stop
TEXT
