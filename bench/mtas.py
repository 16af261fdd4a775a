"""The relays that bench/relay.py measures, each with a spool of its own on loopback, all mail
to far.test going to one sink: Postroom, a private Postfix as Debian ships it, and OpenSMTPD and
Exim from unpacked packages (bench/mta.sh). A kind has `name`, available(), and as an object
`port`, `side` (its processes), flush() (the operator's word: try all now) and close()."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
import time

import benchlib as lib

CONNS = 20


def wait_for_port(port, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as c:
                if c.recv(100).startswith(b"220"):
                    return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"nobody greets at port {port}")


class Postroom:
    name = "Postroom"

    @staticmethod
    def available():
        return True

    def __init__(self, sink_port, other_sink=None):
        """`other_sink`: where mail to near.test goes."""
        self.post = lib.t.Instance(start=False, folder=os.environ.get("BENCH_DIR"), conf={
            "smtp": ['trusted_networks = {"127.0.0.0/8"}'],
            "relay": ['retry = {"1h"}', f"connections = {CONNS}"],
            "log": ['level = "warn"']})
        lib.unlimited(self.post)
        for domain, port in (("far.test", sink_port), ("near.test", other_sink)):
            if port:
                self.post.run("relay", "add", "--to", domain, "--host", "127.0.0.1", "--port",
                              str(port), "--tls", "none")
        self.post.start()
        self.port = self.post.port("smtp")
        self.side = lib.Side(self.name, self.post.base, lambda: [self.post.pid("smtpd")])
        wait_for_port(self.port)

    def flush(self):
        self.post.run("queue", "retry", "--all")

    def close(self):
        self.post.close()


class Postfix:
    name = "Postfix"

    @staticmethod
    def available():
        return os.geteuid() == 0 and shutil.which("postfix") is not None

    def __init__(self, sink_port, other_sink=None):
        self.port = lib.t.port_base_free() + 25
        self.dir = tempfile.mkdtemp(prefix="postroom-bench-", dir=os.environ.get("BENCH_DIR"))
        os.chmod(self.dir, 0o755)
        for name in ("etc", "spool", "data"):
            os.mkdir(os.path.join(self.dir, name))
        shutil.chown(os.path.join(self.dir, "data"), "postfix")
        self.log = f"/var/log/postroom-bench-relay.{os.getpid()}.log"
        self.etc = os.path.join(self.dir, "etc")
        with open(os.path.join(self.etc, "transport"), "w") as out:
            out.write(f"near.test smtp:[127.0.0.1]:{other_sink or sink_port}\n")
        with open(os.path.join(self.etc, "main.cf"), "w") as out:
            out.write(f"""compatibility_level = 3.6
queue_directory = {self.dir}/spool
data_directory = {self.dir}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mail.demo.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
alias_maps =
relayhost = [127.0.0.1]:{sink_port}
transport_maps = texthash:{self.etc}/transport
smtpd_client_connection_count_limit = 0
default_process_limit = 200
minimal_backoff_time = 3600s
maximal_backoff_time = 7200s
queue_run_delay = 3600s
maillog_file = {self.log}
""")
        with open("/usr/share/postfix/master.cf.dist") as f:
            master = f.read()
        master = re.sub(r"(?m)^smtp +inet.*smtpd$",
                        f"127.0.0.1:{self.port} inet n - n - - smtpd", master)
        master = re.sub(r"(?m)^(\w\S* +\w+ +[-yn] +[-yn] +)y ", r"\1n ", master)
        with open(os.path.join(self.etc, "master.cf"), "w") as out:
            out.write(master)
        subprocess.run(["postfix", "-c", self.etc, "start"], check=True, capture_output=True)
        self.side = lib.Side(self.name, 0, lib.pid_in(f"{self.dir}/spool/pid/master.pid"))
        wait_for_port(self.port)
        time.sleep(1)

    def flush(self):
        subprocess.run(["postqueue", "-c", self.etc, "-f"], check=True)

    def close(self):
        subprocess.run(["postfix", "-c", self.etc, "stop"], capture_output=True)
        shutil.rmtree(self.dir, ignore_errors=True)
        if os.path.exists(self.log):
            os.unlink(self.log)


class Unpacked:
    """What bench/mta.sh runs."""

    kind = ""

    @classmethod
    def available(cls):
        return os.geteuid() == 0 and lib.script("mta.sh", "fetch", cls.kind) == 0

    def __init__(self, sink_port, other_sink=None):
        del other_sink
        self.port = lib.t.port_base_free() + 25
        self.dir = tempfile.mkdtemp(prefix="postroom-bench-", dir=os.environ.get("BENCH_DIR"))
        self.process = subprocess.Popen(
            [os.path.join(lib.BENCH, "mta.sh"), "run", self.kind, self.dir, str(self.port),
             str(sink_port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.side = lib.Side(self.name, 0, lambda: [self.process.pid])
        try:
            wait_for_port(self.port)
        except RuntimeError:
            self.close()
            raise

    def flush(self):
        lib.script("mta.sh", "flush", self.kind, self.dir, str(self.process.pid))

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.stop_left()
        shutil.rmtree(self.dir, ignore_errors=True)

    def stop_left(self):
        """Queue runners and deliveries may outlive their daemon: our mounts tell them."""
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                with open(f"/proc/{pid}/mountinfo") as f:
                    if self.dir in f.read():
                        os.kill(pid, 15)
            except OSError:
                pass


class OpenSMTPD(Unpacked):
    name, kind = "OpenSMTPD", "opensmtpd"


class Exim(Unpacked):
    name, kind = "Exim", "exim"


KINDS = (Postroom, Postfix, OpenSMTPD, Exim)
