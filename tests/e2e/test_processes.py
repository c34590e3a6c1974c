"""Jobs of isolation PROCESS in the real server: what is theirs alone, what they find around them, how roll call shows
them, how they are made to end, and what is left of them. How they die: test_process_deaths.py."""
import collections
import ctypes
import os
import shutil
import signal
import tempfile
import time
import unittest

import grpc
from jobpool.v1 import job_pb2, job_service_pb2 as js, thread_service_pb2 as ts
from jobpool_e2e import PATIENCE, SLOW, Client, Server, eventually, job_reason, processes_below, seconds, spin_job
from jobpool_e2e import unix_time
from processes_e2e import BOUNDED_MEMORY, Job, ProcessTest, Thread, apart, blocking_pool, config
from test_plugins import PLUGINS, custom, flag

Step = job_pb2.StopStep
MIB = 1 << 20
PR_SET_CHILD_SUBREAPER = 36


class Own(ProcessTest):
    """What is a process's own, and what it does not know of."""

    def test_a_global_is_the_process_s_and_its_threads_share_theirs(self):
        server, client = self.start(plugins=("counter",))
        expected = [(Job.PROCESS, b"set 0", b"0"), (Job.PROCESS, b"get", b"100"), (Job.THREAD, b"get", b"100"),
                    (Job.THREAD, b"set 0", b"0"), (Job.THREAD, b"get", b"0"), (Job.PROCESS, b"get", b"100")]
        pids = []
        for isolation, payload, result in expected:
            job = self.succeeds(client, custom("counter", payload, isolation=isolation))
            self.assertEqual((job.isolation, job.result.custom.payload), (isolation, result), payload)
            self.assertEqual(len(job.attempts), 1)
            self.assertEqual(job.attempts[0].process_id == server.pid, isolation == Job.THREAD)
            if isolation == Job.PROCESS:
                self.assertEqual(job.attempts[0].os_thread_id, job.attempts[0].process_id)
                pids.append(job.attempts[0].process_id)
        self.assertEqual(len(set(pids)), 3, "each had a process of its own")

    def test_a_process_is_used_again_only_where_its_kind_says_so(self):
        _, client = self.start()
        pids = {kind: [self.succeeds(client, apart(kind, b"x")).attempts[0].process_id for _ in range(4)]
                for kind in ("good", "good-fresh")}
        self.assertEqual(len(set(pids["good"])), 1, pids)
        self.assertEqual(len(set(pids["good-fresh"] + pids["good"])), 5, pids)

    def test_a_process_makes_room_after_so_many_jobs_or_so_much_memory(self):
        _, client = self.start(config(f"max_jobs: 3 max_resident_bytes: {300 * MIB}"))
        kinds = [("good", b"x")] * 6 + [("touch", b"100"), ("touch", b"310"), ("good", b"x"), ("touch", b"10")]
        pids = [self.succeeds(client, apart(*kind)).attempts[0].process_id for kind in kinds]
        runs = [pids.count(pid) for pid in dict.fromkeys(pids)]
        self.assertEqual(runs, [3, 3, 2, 2], pids)

    def test_large_payloads_and_many_at_once(self):
        _, client = self.start()
        payload = bytes(range(256)) * (MIB // 256)
        names = [client.submit(apart("good", payload)).name for _ in range(20)]
        for name in names:
            client.join(name)
            job = client.get(name)
            self.assertEqual((job.state, job.result.custom.payload == payload[::-1]), (Job.SUCCEEDED, True), job.error)

    def look(self, client):
        """What a job finds around it: lists of texts by what they are of."""
        seen = collections.defaultdict(list)
        for line in self.text(client, apart("look")).splitlines():
            what, _, how = line.partition("\t")
            seen[what].append(how)
        return seen

    def field(self, seen, file, name):
        (line,) = [line for line in seen[file] if line.startswith(name)]
        return line[len(name):].split()

    def test_what_it_finds_around_it(self):
        limits = f"""max_memory_bytes: {512 * MIB} max_cpu_time {{ seconds: 1000 }} max_file_bytes: 5000
                     max_open_files: 99"""
        server, client = self.start(config(limits=limits), env={"SECRET": "x", "LD_LIBRARY_PATH": "/nonexistent"})
        seen = self.look(client)
        self.assertEqual((seen["session"], seen["file"]), (seen["pid"], []))
        self.assertEqual([v for v in seen["variable"] if "SAN_OPTIONS=" not in v], ["LANG=C.UTF-8"])
        for status, value in (("NoNewPrivs:", ["1"]), ("Umask:", ["0077"])):
            self.assertEqual(self.field(seen, "status", status), value, status)
        for status in ("SigBlk:", "SigIgn:"):
            (mask,) = self.field(seen, "status", status)
            self.assertEqual(int(mask, 16) & 0x7fffffff, 0, status)  # the C library's own are none of ours
        self.assertEqual(seen["mode"], [str(0o600)])
        rlimits = {"Max core file size": "0 0", "Max cpu time": "1000 1001", "Max file size": "5000 5000",
                   "Max open files": "99 99"}
        if BOUNDED_MEMORY:
            rlimits["Max address space"] = f"{512 * MIB} {512 * MIB}"
        for name, value in rlimits.items():
            self.assertEqual(self.field(seen, "limits", name)[:2], value.split(), name)
        (folder,) = seen["folder"]
        self.assertNotEqual(folder, os.getcwd())
        eventually(lambda: not os.path.exists(folder), what="its folder goes with it")
        # Its streams, what it speaks with the server over, how that wakes it, and where its name is written.
        its = r"\A(pipe:\[\d+\]|socket:\[\d+\]|anon_inode:\[eventfd\]|/dev/null|/proc/.*/comm)\Z"
        for target in seen["descriptor"]:
            self.assertRegex(target, its)
        self.assertEqual(sum(target.startswith("socket:") for target in seen["descriptor"]), 2, seen["descriptor"])
        pipes = collections.Counter(target for target in seen["descriptor"] if target.startswith("pipe:"))
        if SLOW > 1:  # UBSan makes a pipe for a moment to see whether it may read: both its ends are there
            pipes = {pipe: ends for pipe, ends in pipes.items() if ends == 1}
        self.assertEqual(sum(pipes.values()), 3, seen["descriptor"])
        self.assertTrue(self.sockets(server).isdisjoint(seen["descriptor"]))

    @staticmethod
    def sockets(server):
        sockets = set()
        for fd in os.listdir(f"/proc/{server.pid}/fd"):
            try:
                sockets.add(os.readlink(f"/proc/{server.pid}/fd/{fd}"))
            except FileNotFoundError:
                pass
        return {socket for socket in sockets if socket.startswith("socket:")}

    @unittest.skipUnless(os.geteuid() == 0, "only root can become another user")
    def test_another_user(self):
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            shutil.copy(f"{PLUGINS}/crashes.so", folder)
            server = self.server(f"--plugin={folder}/crashes.so", self.config_flag(
                config('user: "nobody"', limits="max_processes: 77")))
            seen = self.look(self.client(server))
            self.assertEqual(self.field(seen, "limits", "Max processes")[:2], ["77", "77"])
            self.assertEqual(self.field(seen, "status", "Uid:"), ["65534"] * 4)
            self.assertEqual(self.field(seen, "status", "NoNewPrivs:"), ["1"])
            self.assertEqual(self.field(seen, "status", "CapEff:"), ["0" * 16])
            self.assertEqual(seen["mode"], [str(0o600)], "it can write to its folder")

    def test_what_it_has_used(self):
        _, client = self.start()
        usage = self.succeeds(client, spin_job(0.2, isolation=Job.PROCESS)).attempts[0].usage
        self.assertGreaterEqual(self.cpu(usage), 0.19)
        self.assertGreater(usage.peak_memory_bytes, MIB)
        usage = self.succeeds(client, apart("touch", b"200")).attempts[0].usage
        self.assertGreaterEqual(usage.peak_memory_bytes, 200 * MIB)
        self.assertLess(usage.peak_memory_bytes, 500 * MIB * SLOW)
        self.assertGreater(usage.minor_page_faults, 0)
        self.assertGreaterEqual(usage.major_page_faults, 0)
        # That of one that has died too, up to its death.
        job = client.run(apart("crash", b"noise"))
        self.assertGreater(self.cpu(job.attempts[0].usage), 0)
        self.assertGreater(job.attempts[0].usage.peak_memory_bytes, MIB)
        # Of what a process does again and again, each has its own.
        first, second = (self.succeeds(client, apart("good", b"x")).attempts[0] for _ in range(2))
        self.assertEqual(first.process_id, second.process_id)
        self.assertLess(self.cpu(second.usage), 0.1 * SLOW)
        # It waits, and is woken.
        name = client.submit(apart("listens")).name
        client.running(name)
        client.cancel(name)
        self.assertGreater(client.join(name).attempts[0].usage.voluntary_context_switches, 0)

    @staticmethod
    def cpu(usage):
        return unix_time(usage.user_cpu_time) + unix_time(usage.system_cpu_time)


class RollCall(ProcessTest):
    def test_a_process_is_in_roll_call_under_its_name_until_it_has_idled(self):
        server, client = self.start(config(idle_timeout=1))
        self.assertEqual(self.workers(client), [])
        name = client.submit(apart("crash-reused", b"kill", display_name="a sleeper")).name
        pid = self.pid_of(server, client, name)
        attempt = client.get(name).attempts[0]
        (worker,) = self.workers(client)
        self.assertEqual((worker.name, worker.display_name), (attempt.thread, attempt.thread_display_name))
        self.assertEqual((worker.process_id, worker.os_thread_id, worker.pool, worker.state, worker.job,
                          worker.job_display_name),
                         (pid, pid, "pools/blocking", Thread.RUNNING, name, "a sleeper"))
        self.assertEqual(client.active_count().counts_by_role["PROCESS_WORKER"], 1)
        (pool_worker,) = [thread for thread in client.workers("blocking") if thread.role == Thread.WORKER]
        self.assertEqual((pool_worker.state, pool_worker.job), (Thread.RUNNING, ""))
        self.assertEqual(server.metrics().sum("jobpool_threads", role="process_worker"), 1)
        eventually(lambda: self.comm(pid) == worker.display_name[:15], what="its native name is that of roll call")
        os.kill(pid, signal.SIGKILL)
        client.join(name)
        eventually(lambda: not self.workers(client), what="the dead one is gone")

        first = self.succeeds(client, apart("good", b"x")).attempts[0]
        idle = client.threads.GetThread(ts.GetThreadRequest(name=first.thread), timeout=PATIENCE)
        self.assertEqual((idle.state, idle.job, idle.pool, idle.process_id, idle.jobs_run),
                         (Thread.IDLE, "", "", first.process_id, 1))
        self.rename(client, first.thread, "a-new-name")
        eventually(lambda: self.comm(first.process_id) == "a-new-name", what="the process is renamed")
        self.gone_from_roll_call(client, first.thread)
        self.assertEqual(self.workers(client), [])
        eventually(lambda: not os.path.exists(f"/proc/{first.process_id}"), what="it has ended")
        self.assertNotIn("PROCESS_WORKER", client.active_count().counts_by_role)

    def test_a_name_stays_with_the_process(self):
        server, client = self.start()
        thread = self.succeeds(client, apart("good", b"x")).attempts[0].thread
        self.rename(client, thread, "mine")
        attempt = self.succeeds(client, apart("good", b"x")).attempts[0]
        self.assertEqual((attempt.thread, attempt.thread_display_name), (thread, "mine"))
        eventually(lambda: self.comm(attempt.process_id) == "mine", what="the process is renamed")
        self.assertEqual([w.display_name for w in self.workers(client)], ["mine"])
        self.assertEqual(len(processes_below(server.pid)), 3)  # with the fork server and the keeper

    @staticmethod
    def rename(client, thread, name):
        request = ts.UpdateThreadRequest(thread=Thread(name=thread, display_name=name))
        client.threads.UpdateThread(request, timeout=PATIENCE)

    @staticmethod
    def comm(pid):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8") as comm:
                return comm.read().rstrip("\n")
        except FileNotFoundError:
            return None

    @staticmethod
    def gone_from_roll_call(client, thread):
        def gone():
            try:
                client.threads.GetThread(ts.GetThreadRequest(name=thread), timeout=PATIENCE)
            except grpc.RpcError as error:
                return error.code() == grpc.StatusCode.NOT_FOUND
        eventually(gone, what=f"{thread} is gone")


class Ladder(ProcessTest):
    """How one is made to end that does not do so by itself."""

    @classmethod
    def setUpClass(cls):
        with tempfile.NamedTemporaryFile("w", suffix=".txtpb") as file:
            file.write(config() + """
pools { name: "patient" max_threads: 1 stop_grace { seconds: 60 } }
pools { name: "half-a-second" max_threads: 1 stop_grace { nanos: 500000000 } }
""")
            file.flush()
            cls.shared = Server(flag("crashes"), f"--config={file.name}")
        cls.addClassCleanup(cls.shared.finish)
        cls.c = Client(cls.shared.grpc)
        cls.addClassCleanup(cls.c.close)

    def steps(self, attempt):
        """What was done to end it, after the order of its times was looked at."""
        times = [unix_time(step.time) for step in attempt.stop_steps]
        self.assertEqual(times, sorted(times))
        self.assertGreaterEqual(unix_time(attempt.end_time), times[-1])
        return [step.action for step in attempt.stop_steps]

    def gone(self, pid):
        eventually(lambda: not os.path.exists(f"/proc/{pid}"), what=f"{pid} has ended")

    def cancelled(self, name):
        self.c.cancel(name)
        job = self.c.join(name)
        self.assertEqual((job.state, job_reason(job), len(job.attempts)), (Job.CANCELLED, "CANCEL_REQUESTED", 1))
        self.gone(job.attempts[0].process_id)
        return job.attempts[0]

    def test_one_that_ignores_all_is_killed(self):
        name = self.c.submit(apart("ignores")).name
        self.says(self.c, name, "ignores")
        attempt = self.cancelled(name)
        self.assertEqual(self.steps(attempt), [Step.ASKED, Step.TERMINATED, Step.KILLED])
        asked, terminated, killed = (unix_time(step.time) for step in attempt.stop_steps)
        self.assertGreaterEqual(terminated - asked, 0.09)  # the pool's stop_grace
        self.assertGreaterEqual(killed - terminated, 0.9)
        self.assertLess(killed - asked, PATIENCE)
        self.assertEqual(blocking_pool(self.c).retiring_threads, 0, "its thread was not given up")

    def test_one_that_ends_on_sigterm_is_not_killed(self):
        name = self.c.submit(apart("crash", b"kill")).name
        self.says(self.c, name, "sleeps")
        self.assertEqual(self.steps(self.cancelled(name)), [Step.ASKED, Step.TERMINATED])

    def test_one_that_listens_is_only_asked(self):
        name = self.c.submit(apart("listens", pool="pools/patient")).name
        self.pid_of(self.shared, self.c, name)
        self.assertEqual(self.steps(self.cancelled(name)), [Step.ASKED])

    def test_one_that_has_listened_is_not_abandoned_though_its_process_ends_slowly(self):
        name = self.c.submit(apart("listens", pool="pools/half-a-second")).name  # a second is waited for the keeper
        pid = self.pid_of(self.shared, self.c, name)
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            keeper = int(stat.read().rpartition(")")[2].split()[1])
        os.kill(keeper, signal.SIGSTOP)  # it does not even answer
        try:
            self.c.cancel(name)
            job = self.c.join(name)
        finally:
            os.kill(keeper, signal.SIGCONT)
        self.assertEqual((job.state, job_reason(job)), (Job.CANCELLED, "CANCEL_REQUESTED"))
        self.assertEqual(self.steps(job.attempts[0]), [Step.ASKED])
        self.gone(pid)

    def test_what_it_has_started_is_killed_with_it(self):
        name = self.c.submit(apart("grandchild", b"stay")).name
        pid = int(self.says(self.c, name, r"\d+"))
        self.assertTrue(os.path.exists(f"/proc/{pid}"))
        self.cancelled(name)
        self.gone(pid)
        self.gone(int(self.text(self.c, apart("grandchild"))))  # one that it has left behind

    def test_a_timeout(self):
        job = self.c.run(apart("ignores", timeout=seconds(0.5 * SLOW)))
        self.assertEqual((job.state, job_reason(job), len(job.attempts)), (Job.FAILED, "ATTEMPT_TIMED_OUT", 1))
        self.assertEqual(self.steps(job.attempts[0])[:2], [Step.ASKED, Step.TERMINATED])
        self.gone(job.attempts[0].process_id)

    def retried(self, job, attempts):
        job = self.c.run(job)
        self.assertEqual((job.state, len(job.attempts)), (Job.FAILED, attempts))
        self.assertEqual([attempt.number for attempt in job.attempts], list(range(1, attempts + 1)))
        pids = [attempt.process_id for attempt in job.attempts]
        self.assertEqual(len(set(pids)), attempts, "each attempt has a process of its own")
        self.assertNotIn(self.shared.pid, pids)
        for pid in pids:
            self.gone(pid)
        return job

    def test_retries_of_what_crashes(self):
        for kind in ("crash", "crash-reused"):
            policy = {"max_attempts": 3, "initial_backoff": seconds(0.01)}
            job = self.retried(apart(kind, b"segv", retry_policy=policy), 3)
            self.assertEqual(job_reason(job), "PROCESS_DIED")
            self.assertEqual([job_reason(attempt) for attempt in job.attempts], ["PROCESS_DIED"] * 3)

    def test_retries_of_what_does_not_end_in_time(self):
        job = self.retried(apart("listens", timeout=seconds(0.2),
                                 retry_policy={"max_attempts": 2, "initial_backoff": seconds(0.01)}), 2)
        self.assertEqual([job_reason(attempt) for attempt in job.attempts], ["ATTEMPT_TIMED_OUT"] * 2)


class Ends(ProcessTest):
    """Nothing outlives the server. What its parent has lost comes to this process, which sees it so."""

    @classmethod
    def setUpClass(cls):
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        assert prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
        cls.addClassCleanup(prctl, PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

    def setUp(self):
        self.before = set(processes_below(os.getpid()))

    def nothing_is_left(self):
        """To be asked once the server has been waited for."""
        def left():
            below = {pid: what for pid, what in processes_below(os.getpid()).items() if pid not in self.before}
            for pid, (_, state) in below.items():
                if state == "Z":
                    try:
                        os.waitpid(pid, os.WNOHANG)
                    except ChildProcessError:
                        pass  # another's, which must reap it
            return below

        last = {}

        def none():
            last.clear()
            last.update(left())
            return not last

        try:
            eventually(none, what="nothing is left")
        except AssertionError:
            self.fail(f"left: {last}")
        self.no_folder_is_left()

    def busy(self):
        """A server with something of everything."""
        server, client = self.start(config("min_idle: 1"))
        deaf = client.submit(apart("ignores")).name
        self.says(client, deaf, "ignores")
        stays = client.submit(apart("grandchild", b"stay")).name
        orphans = [int(self.says(client, stays, r"\d+"))]
        orphans.append(int(self.text(client, apart("grandchild-reused"))))  # its process idles
        client.running(client.submit(apart("listens")).name)
        client.running(client.submit(spin_job(600, isolation=Job.PROCESS)).name)
        below = processes_below(server.pid)
        self.assertTrue(set(orphans) <= set(below), "the server knows its grandchildren")
        self.assertGreaterEqual(len(below), 1 + 2 * 5 + 2, below)
        return server

    def test_a_killed_server_takes_all_along(self):
        server = self.busy()
        server.kill()
        self.nothing_is_left()

    def test_so_does_one_that_is_ended(self):
        server = self.busy()
        server.finish()
        self.nothing_is_left()

    def test_so_does_one_that_is_killed_while_processes_come_and_go(self):
        for wait in (0, 0.1, 0.3):
            server, client = self.start(config("min_idle: 4"))
            jobs = [apart(*kind) for kind in (("grandchild",), ("good-fresh",), ("good",), ("crash", b"segv"),
                                              ("grandchild-reused",))]
            self.succeeds(client, jobs[0])
            request = js.BatchSubmitJobsRequest(requests=[js.SubmitJobRequest(job=job)
                                                          for job in [apart("ignores")] * 2 + jobs * 200])
            client.jobs.BatchSubmitJobs(request, timeout=PATIENCE)
            time.sleep(wait)  # it is killed at some moment, whichever
            server.kill()
            self.nothing_is_left()

    def test_idle_processes_end_with_it_too(self):
        server, client = self.start(config("min_idle: 3"))
        eventually(lambda: len(self.workers(client)) == 3, what="three are there")
        server.finish()
        self.nothing_is_left()

    def test_one_that_drains_waits_for_them(self):
        with tempfile.TemporaryDirectory() as folder:
            state = f"--state_dir={folder}/state"
            server, client = self.start(None, state, drain_timeout="300s")
            name = client.submit(spin_job(1, isolation=Job.PROCESS)).name
            client.running(name)
            server.finish()
            self.nothing_is_left()
            server, client = self.start(None, state)
            job = client.get(name)
            self.assertEqual((job.state, job.isolation, len(job.attempts)), (Job.SUCCEEDED, Job.PROCESS, 1), job.error)
            self.assertGreaterEqual(unix_time(job.result.compute.spin.cpu_time), 1)

    def test_a_job_on_disk_runs_again_in_a_process(self):
        with tempfile.TemporaryDirectory() as folder:
            state = f"--state_dir={folder}/state"
            server, client = self.start(None, state)
            name = client.submit(apart("listens")).name
            pids = [self.pid_of(server, client, name)]
            server.kill()
            self.nothing_is_left()
            server, client = self.start(None, state)
            pids.append(self.pid_of(server, client, name))
            job = client.get(name)
            self.assertEqual((job.isolation, [attempt.process_id for attempt in job.attempts]), (Job.PROCESS, pids))
            client.cancel(name)
            self.assertEqual(client.join(name).state, Job.CANCELLED)
