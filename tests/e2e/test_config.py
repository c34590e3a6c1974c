"""--config, read again under load; what it bounds; and the flags for logs, channelz and large messages."""
import json
import os
import signal
import subprocess
import tempfile
import threading
import uuid

import grpc
from jobpool.v1 import job_pb2, job_service_pb2 as js, pool_service_pb2 as ps
from jobpool_e2e import BIN, PATIENCE, SLOW, E2eTest, eventually, noop_job, sleep_job

Job = job_pb2.Job
FREE = ("--grpc_listen=127.0.0.1:0", "--http_listen=127.0.0.1:0")
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
LAST_RELOAD = "jobpool_config_last_reload_successful"
LAST_SUCCESS = "jobpool_config_last_reload_success_timestamp_seconds"


class ConfigTest(E2eTest):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())

    def path(self, name="jobpoold.textproto"):
        return os.path.join(self.folder, name)

    def write(self, text, name="jobpoold.textproto"):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return f"--config={self.path(name)}"

    def with_config(self, text, *flags, **options):
        return self.both(self.write(text), *flags, **options)

    def reload(self, server, text, successful=True):
        """Replaces the file, and waits until it has been read."""
        line = " info reloaded\n" if successful else " error reload refused error="
        before = server.log().count(line)
        self.write(text)
        server.signal(signal.SIGHUP)
        eventually(lambda: server.log().count(line) > before, what=f"the log says:{line}")
        eventually(lambda: server.metrics().sum(LAST_RELOAD) == successful, what="the metric says so")

    def pool(self, client, name):
        return client.pools.GetPool(ps.GetPoolRequest(name=f"pools/{name}"), timeout=PATIENCE)


class Files(ConfigTest):
    def run_it(self, *flags):
        return subprocess.run([f"{BIN}/jobpoold", *FREE, *flags], capture_output=True, text=True, timeout=10 * SLOW,
                              stdin=subprocess.DEVNULL, check=False)

    def refuses(self, flag, *words):
        """With one line that has `words`; --validate_config says the same."""
        with self.subTest(words):
            said = []
            for validate in ((), ("--validate_config",)):
                done = self.run_it(flag, *validate)
                self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
                self.assertRegex(done.stderr, r"\Ajobpoold: [^\n]+\n\Z")
                for word in (flag.partition("=")[2], *words):
                    self.assertIn(word, done.stderr)
                said.append(done.stderr)
            self.assertEqual(said[0], said[1])

    def test_faulty_files_are_refused_in_one_line(self):
        for text, *words in (
                ('pools {\n  name: "a"\n  max_threads: }\n', ": 3:16: ", "Expected"),
                ('limits { max_waits: 1 }\npolls {}\n', ": 2:7: ", '"polls"'),
                ('pools { name: "a\nb" }\n', ": 1:17: "),
                ('pools { name: "blocking" max_threads: 0 }', "pools[0].max_threads", "1", "10000"),
                ('pools { name: "blocking" max_threads: 10001 }', "pools[0].max_threads"),
                ('pools { name: "blocking" max_threads: 99999999999 }', ": 1:39: ", "99999999999"),
                ('pools { name: "blocking" max_threads: -1 }', "pools[0].max_threads"),
                ('pools { name: "blocking" min_threads: 5 max_threads: 4 }', "pools[0].min_threads", "max_threads"),
                ('pools { name: "compute" max_queued_jobs: 0 }', "pools[0].max_queued_jobs"),
                ('pools { name: "compute" idle_timeout { seconds: 86401 } }', "pools[0].idle_timeout"),
                ('pools { name: "reports" }', "pools[0].max_threads", "is required"),
                ('pools { name: "Reports" max_threads: 1 }', "pools[0].name"),
                ('pools { max_threads: 1 }', "pools[0].name"),
                ('pools { name: "a" max_threads: 1 } pools { name: "a" max_threads: 1 }', "pools[1].name", "twice"),
                ("".join(f'pools {{ name: "p{i}" max_threads: 1 }}\n' for i in range(65)), "at most 64, are 65"),
                ('limits { max_ended_jobs: -1 }', "limits.max_ended_jobs"),
                ('limits { max_live_bytes: 1048575 }', "limits.max_live_bytes"),
                ('limits { max_waits: 0 }', "limits.max_waits"),
                ('limits { max_request_ids: 100000001 }', "limits.max_request_ids"),
                ("#" * ((1 << 20) + 1), "larger than 1 MiB"),
                ("\x00\x01\x02", ": 1:1: ")):
            self.refuses(self.write(text), *words)

    def test_files_that_cannot_be_read(self):
        self.refuses(f"--config={self.path('missing')}", "No such file or directory")
        self.refuses(f"--config={self.folder}", "not a regular file")
        os.mkfifo(self.path("pipe"))
        self.refuses(f"--config={self.path('pipe')}", "not a regular file")  # and does not wait for a writer

    def test_good_files_are_valid(self):
        for text in ("", "# nothing\n", 'pools { name: "blocking" max_threads: 10000 min_threads: 0 }',
                     'pools { name: "a" max_threads: 1 idle_timeout {} max_queued_jobs: 100000000 }',
                     "".join(f'pools {{ name: "p{i}" max_threads: 1 }}\n' for i in range(64)),
                     'limits { max_ended_jobs: 0 max_ended_bytes: 0 max_live_bytes: 1048576 max_waits: 1 '
                     'max_request_ids: 0 }', "#" * (1 << 20)):
            done = self.run_it(self.write(text), "--validate_config")
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "valid\n", ""), text[:100])

    def test_the_example_of_the_schema_is_served(self):
        server, client = self.with_config('pools { name: "blocking" max_threads: 64 }\n'
                                          'pools { name: "reports" max_threads: 2 max_queued_jobs: 1000 }\n'
                                          'limits { max_ended_jobs: 10000 }\n')
        self.assertEqual(self.pool(client, "blocking").max_threads, 64)
        reports = self.pool(client, "reports")
        self.assertEqual((reports.min_threads, reports.max_threads, reports.max_queued_jobs), (0, 2, 1000))
        self.assertEqual(self.pool(client, "compute").max_queued_jobs, 1_000_000)
        job = client.run(noop_job(pool="pools/reports"))
        self.assertEqual((job.state, job.pool), (Job.SUCCEEDED, "pools/reports"))
        self.assertEqual(len(client.workers("reports")), 1)
        error = self.fails(grpc.StatusCode.NOT_FOUND, client.submit, noop_job(pool="pools/nowhere"))
        self.assertEqual(error.reason, "POOL_NOT_FOUND")
        self.assertEqual(server.metrics().sum("jobpool_pool_max_queued_jobs", pool="reports"), 1000)


class Reload(ConfigTest):
    POOL = 'pools { name: "load" %s idle_timeout { nanos: 1000000 } }'
    BEFORE = POOL % "min_threads: 4 max_threads: 4 max_queued_jobs: 100000"
    GROWN = POOL % "min_threads: 8 max_threads: 9 max_queued_jobs: 50000"
    SHRUNK = POOL % "max_threads: 2 max_queued_jobs: 70000"

    def bounds(self, client):
        pool = self.pool(client, "load")
        return pool.min_threads, pool.max_threads, pool.max_queued_jobs

    def test_under_load(self):
        server, client = self.with_config(self.BEFORE)
        clients = [self.client(server) for _ in range(3)]
        held = [client.submit(sleep_job(600, pool="pools/load")).name for _ in range(2)]
        for name in held:
            client.running(name)
        names, faults, done = [[] for _ in clients], [], threading.Event()

        def submit(number):
            try:
                while not done.is_set():
                    names[number].append(clients[number].submit(noop_job(pool="pools/load")).name)
                    job = clients[number].run(sleep_job(0.001, pool="pools/load"))
                    assert job.state == Job.SUCCEEDED, job
            except BaseException as error:  # whatever it is, it is told
                faults.append(error)

        callers = [threading.Thread(target=submit, args=(i,)) for i in range(len(clients))]
        for caller in callers:
            caller.start()
        try:
            started = server.metrics().sum(LAST_SUCCESS)
            self.all_go_on(names, faults)
            self.assertEqual(self.bounds(client), (4, 4, 100000))

            self.reload(server, self.GROWN)
            self.assertEqual(self.bounds(client), (8, 9, 50000))
            eventually(lambda: self.pool(client, "load").threads >= 8, what="the pool grows")
            grown = self.reload_later(server, self.GROWN, started)
            self.all_go_on(names, faults)

            refused = ((self.BEFORE + "\nnonsense", ": 2:"), (self.BEFORE.replace("4", "0"), "pools[0].max_threads"),
                       (self.BEFORE + 'pools { name: "more" max_threads: 1 }', "cannot be added or removed"),
                       ("", "cannot be added or removed"))
            for text, why in refused:  # each also says what would change, were it not refused whole
                before = len(server.log())
                self.reload(server, text, successful=False)
                self.assertIn(f'error reload refused error="{self.path()}:', server.log()[before:])
                self.assertIn(why, server.log()[before:])
                self.assertEqual(self.bounds(client), (8, 9, 50000))
                self.assertEqual(server.metrics().sum(LAST_SUCCESS), grown)
                self.all_go_on(names, faults)
            os.unlink(self.path())
            before = len(server.log())
            server.signal(signal.SIGHUP)
            eventually(lambda: "reload refused" in server.log()[before:], what="the missing file is refused")

            for name in held[1:]:
                client.cancel(name)
            self.reload_later(server, self.SHRUNK, grown)
            self.assertEqual(self.bounds(client), (0, 2, 70000))
            eventually(lambda: self.pool(client, "load").threads <= 2, what="the pool shrinks")
            self.assertEqual(server.metrics().sum("jobpool_pool_max_threads", pool="load"), 2)
            self.assertEqual(server.metrics().sum("jobpool_pool_max_queued_jobs", pool="load"), 70000)
            self.all_go_on(names, faults)
        finally:
            done.set()
            for caller in callers:
                caller.join(2 * PATIENCE)
        self.assertEqual(faults, [])
        self.assertEqual(client.get(held[0]).state, Job.RUNNING)  # through it all
        submitted = [name for mine in names for name in mine]
        for start in range(0, len(submitted), 5000):
            for job in client.wait(submitted[start:start + 5000]).jobs:
                self.assertEqual(job.state, Job.SUCCEEDED, job)

    def reload_later(self, server, text, than):
        """Reloads until the time of the last success has grown, in seconds. That time."""
        def time_grows():
            self.reload(server, text)
            return (now := server.metrics().sum(LAST_SUCCESS)) > than and now
        return eventually(time_grows, what="the time of the last success grows", poll=0.1)

    def all_go_on(self, names, faults):
        before = [len(mine) for mine in names]
        eventually(lambda: faults or all(len(mine) > was for mine, was in zip(names, before)), what="all submit")
        self.assertEqual(faults, [])

    def test_running_jobs_of_a_pool_that_shrinks_go_on(self):
        server, client = self.with_config(self.BEFORE)
        names = [client.submit(sleep_job(600, pool="pools/load")).name for _ in range(4)]
        for name in names:
            client.running(name)
        queued = client.submit(noop_job(pool="pools/load")).name
        self.reload(server, self.SHRUNK)
        self.assertEqual([client.get(name).state for name in names], [Job.RUNNING] * 4)
        for name in names[:2]:
            client.cancel(name)
            client.join(name)
        eventually(lambda: self.pool(client, "load").threads == 2, what="the two that ended are gone")
        self.assertEqual(client.get(queued).state, Job.QUEUED)  # two run, and no more than two may
        client.cancel(names[2])
        self.assertEqual(client.join(queued).state, Job.SUCCEEDED)
        self.assertEqual(client.get(names[3]).state, Job.RUNNING)

    def test_without_a_config_file(self):
        server, client = self.both()
        server.signal(signal.SIGHUP)
        eventually(lambda: " info reloaded\n" in server.log(), what="it is read again")
        self.assertEqual(server.metrics().sum(LAST_RELOAD), 1)
        self.assertEqual(self.pool(client, "blocking").max_threads, 256)
        self.assertEqual(client.run(noop_job()).state, Job.SUCCEEDED)

    def test_during_a_drain_it_changes_nothing(self):
        server, client = self.with_config(self.BEFORE, drain_timeout="300s")
        name = client.submit(sleep_job(600, pool="pools/load")).name
        client.running(name)
        waiting = client.jobs.WaitJobs.future(js.WaitJobsRequest(names=[name]), timeout=2 * PATIENCE)
        server.signal()
        eventually(lambda: client.health() == 2, what="health is NOT_SERVING")
        for _ in range(3):
            server.signal(signal.SIGHUP)
            self.assertEqual(client.get(name).state, Job.RUNNING)
        self.assertEqual(server.metrics().sum("jobpool_draining"), 1)
        client.cancel(name)
        self.assertEqual([job.state for job in waiting.result().jobs], [Job.CANCELLED])
        self.assertEqual(server.wait(), 0)
        self.assertNotIn("interrupted", server.log())
        self.assertRegex(server.log(), r" info stopped\n\Z")


class Bounds(ConfigTest):
    """At each bound, and one beyond, by config and after a reload."""

    ONE = 'pools { name: "one" max_threads: 1 max_queued_jobs: %d }'

    def hold(self, client):
        """Takes the one worker, so that all others queue. Its name."""
        name = client.submit(sleep_job(600, pool="pools/one")).name
        client.running(name)
        return name

    def test_max_queued_jobs(self):
        server, client = self.with_config(self.ONE % 3)
        held = self.hold(client)

        def queue():
            return client.submit(noop_job(pool="pools/one")).name

        names = [queue() for _ in range(3)]
        self.assertEqual(self.fails(EXHAUSTED, queue).reason, "QUEUE_FULL")
        self.reload(server, self.ONE % 4)
        names.append(queue())
        self.assertEqual(self.fails(EXHAUSTED, queue).reason, "QUEUE_FULL")
        self.reload(server, self.ONE % 2)  # those that are queued stay
        self.assertEqual(self.pool(client, "one").queued_jobs, 4)
        self.assertEqual(self.fails(EXHAUSTED, queue).reason, "QUEUE_FULL")
        for name in names[:2]:
            client.cancel(name)
        self.assertEqual(self.fails(EXHAUSTED, queue).reason, "QUEUE_FULL")
        client.cancel(names[2])
        names[2] = queue()
        self.assertEqual(self.fails(EXHAUSTED, queue).reason, "QUEUE_FULL")
        self.assertEqual(server.metrics().sum("jobpool_jobs_rejected_total", reason="queue_full"), 5)
        client.cancel(held)
        self.assertEqual([client.join(name).state for name in names[2:]], [Job.SUCCEEDED] * 2)

    def test_max_request_ids(self):
        limits = "limits { max_request_ids: %d }"
        server, client = self.with_config(limits % 2)
        ids = [str(uuid.uuid4()) for _ in range(4)]
        names = [client.submit(noop_job(), request_id=id_).name for id_ in ids[:2]]
        self.assertEqual(self.fails(EXHAUSTED, client.submit, noop_job(), request_id=ids[2]).reason, "REQUEST_IDS_FULL")
        self.assertEqual(client.submit(noop_job(), request_id=ids[0]).name, names[0])  # the same again is no more
        client.submit(noop_job())
        self.reload(server, limits % 3)
        client.submit(noop_job(), request_id=ids[2])
        self.assertEqual(self.fails(EXHAUSTED, client.submit, noop_job(), request_id=ids[3]).reason, "REQUEST_IDS_FULL")
        self.reload(server, limits % 0)
        self.fails(EXHAUSTED, client.submit, noop_job(), request_id=ids[3])
        # Who adds none is served as before.
        self.assertEqual(client.submit(noop_job(), request_id=ids[1]).name, names[1])
        client.submit(noop_job(), validate_only=True)

    def test_max_live_bytes(self):
        limits = self.ONE % 100 + "limits { max_live_bytes: %d }"
        server, client = self.with_config(limits % (1 << 20))
        self.hold(client)
        half = bytes(500_000)

        def queue(payload=half):
            return client.submit(noop_job(payload, pool="pools/one")).name

        first = queue()
        queue()
        self.assertEqual(self.fails(EXHAUSTED, queue).reason, "PAYLOADS_FULL")
        queue(b"")
        self.reload(server, limits % (2 << 20))
        queue()
        self.reload(server, limits % (1 << 20))
        self.assertEqual(self.fails(EXHAUSTED, queue).reason, "PAYLOADS_FULL")
        client.cancel(first)
        self.fails(EXHAUSTED, queue)  # 1,000,000 are left: no room for half as much again
        self.assertEqual(server.metrics().sum("jobpool_jobs_rejected_total", reason="payloads_full"), 3)

    def test_max_waits(self):
        limits = self.ONE % 100 + "limits { max_waits: %d }"
        server, client = self.with_config(limits % 1)
        names = [self.hold(client), client.submit(noop_job(pool="pools/one")).name]
        self.fails(EXHAUSTED, client.wait, names)
        self.reload(server, limits % 2)
        waiting = client.jobs.WaitJobs.future(js.WaitJobsRequest(names=names), timeout=2 * PATIENCE)
        client.cancel(names[0])
        self.assertEqual([job.state for job in waiting.result().jobs], [Job.CANCELLED, Job.SUCCEEDED])

    def test_max_ended_jobs(self):
        limits = "limits { max_ended_jobs: %d }"
        server, client = self.with_config(limits % 3)
        names = [client.run(noop_job(durability=Job.MEMORY)).name for _ in range(5)]

        def kept():
            listed = client.jobs.ListJobs(js.ListJobsRequest(), timeout=PATIENCE).jobs
            return sorted(job.name for job in listed)

        eventually(lambda: kept() == sorted(names[2:]), what="three are kept, the last ones")
        self.fails(grpc.StatusCode.NOT_FOUND, client.get, names[0])
        self.reload(server, limits % 1)
        eventually(lambda: kept() == names[4:], what="the last one is kept")
        self.reload(server, limits % 2)
        names.append(client.run(noop_job(durability=Job.MEMORY)).name)
        eventually(lambda: kept() == sorted(names[4:]), what="two are kept")


class Flags(ConfigTest):
    def test_each_line_of_the_log_is_json(self):
        server, client = self.with_config("", "--log_format=json", "--log_level=debug", drain_timeout="0.1s")
        job = client.run(noop_job(display_name='a "quoted\\" näme'))
        client.submit(sleep_job(600))
        self.write('pools { name: "\\"" }')
        server.signal(signal.SIGHUP)
        eventually(lambda: "reload refused" in server.log(), what="the reload is refused")
        server.signal()
        self.assertEqual(server.wait(), 0)
        lines = [json.loads(line) for line in server.log().splitlines()]
        for line in lines:
            self.assertEqual(list(line), ["time", "level", "message"])
            self.assertRegex(line["time"], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\Z")
            self.assertIn(line["level"], ("debug", "info", "warning", "error"))
        of = {level: [line["message"] for line in lines if line["level"] == level] for level in
              ("info", "warning", "error")}
        self.assertTrue(any(job.name in message and "näme" in message for message in of["info"]), of["info"])
        self.assertTrue(any(message.startswith("jobs interrupted") for message in of["warning"]), of["warning"])
        self.assertTrue(any(message.startswith("reload refused") for message in of["error"]), of["error"])
        self.assertEqual(lines[-1]["message"], "stopped")

    def test_channelz_only_when_asked_for(self):
        for flags, there in (((), False), (("--channelz",), True)):
            _, client = self.both(*flags)
            reflect = client.channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
            answer = next(reflect(iter([b"\x3a\x00"]), timeout=PATIENCE))  # list_services
            self.assertIn(b"jobpool.v1.JobService", answer)
            self.assertEqual(b"grpc.channelz.v1.Channelz" in answer, there)
            servers = client.channel.unary_unary("/grpc.channelz.v1.Channelz/GetServers")
            if there:
                self.assertTrue(servers(b"", timeout=PATIENCE))
                continue
            with self.assertRaises(grpc.RpcError) as caught:
                servers(b"", timeout=PATIENCE)
            self.assertEqual(caught.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_max_message_bytes(self):
        bound = 65536
        _, client = self.both(f"--max_message_bytes={bound}")

        def request(size):
            payload = size
            while (made := js.RunJobRequest(job=noop_job(bytes(payload)))).ByteSize() > size:
                payload -= 1
            self.assertEqual(made.ByteSize(), size)
            return made

        self.assertEqual(client.jobs.RunJob(request(bound), timeout=PATIENCE).state, Job.SUCCEEDED)
        with self.assertRaises(grpc.RpcError) as caught:
            client.jobs.RunJob(request(bound + 1), timeout=PATIENCE)
        self.assertEqual(caught.exception.code(), EXHAUSTED)
        self.assertIn("65537 vs. 65536", caught.exception.details())
        self.assertEqual(client.jobs.RunJob(request(bound), timeout=PATIENCE).state, Job.SUCCEEDED)
        for bad in ("1023", str((1 << 30) + 1), "x", "-1"):
            done = subprocess.run([f"{BIN}/jobpoold", *FREE, f"--max_message_bytes={bad}"], capture_output=True,
                                  text=True, timeout=10 * SLOW, stdin=subprocess.DEVNULL, check=False)
            self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
            self.assertRegex(done.stderr, r"\Ajobpoold: [^\n]*--max_message_bytes[^\n]*\n\Z")
