"""How the processes of jobs die, what the jobs say of that, and that the server is none the worse for it."""
import collections
import os
import signal
import threading

import grpc
from google.rpc import error_details_pb2
from jobpool.v1 import job_service_pb2 as js
from jobpool_e2e import PATIENCE, SLOW, Client, eventually, job_reason, processes_below
from processes_e2e import BOUNDED_MEMORY, FORK_SERVER, Job, ProcessTest, Thread, apart, blocking_pool, config

INTERNAL = grpc.StatusCode.INTERNAL.value[0]
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]


def metadata(error):
    """That of the ErrorInfo of a job's, or an attempt's, error."""
    info = error_details_pb2.ErrorInfo()
    assert any(packed.Unpack(info) for packed in error.details), error
    return dict(info.metadata)


class Death(collections.namedtuple("Death", "words signal exit_status", defaults=(0, 0))):
    """How a process dies, and what is said of that."""

    code, reason = INTERNAL, "PROCESS_DIED"

    def check(self, test, job, number=0):
        error = job.attempts[number].error
        test.assertEqual((error.code, job_reason(job.attempts[number])), (self.code, self.reason), error)
        test.assertRegex(error.message, rf"\Athe job's process has died: {self.words}\Z")
        end = {"signal": str(self.signal)} if self.signal else {"exit_status": str(self.exit_status)}
        test.assertEqual(metadata(error), end)


class Refusal(Death):
    """It lives on: what it asked for was refused."""

    code, reason = EXHAUSTED, "WORK_FAILED"

    def check(self, test, job, number=0):
        error = job.attempts[number].error
        test.assertEqual((error.code, job_reason(job.attempts[number])), (self.code, self.reason), error)
        test.assertRegex(error.message, self.words)


# By the word that says so to the kinds `crash` and `crash-reused`.
DEATHS = {
    "segv": Death(r"ended by signal 11 \(SIGSEGV\); the end of its stderr: a word before \| writes to nowhere", 11),
    "abort": Death(r"ended by signal 6 \(SIGABRT\)", 6),
    "exit": Death("exit status 3", 0, 3),
    "throw": Death(r"ended by signal 6 \(SIGABRT\); the end of its stderr: terminate called after throwing .* \| "
                   r"what\(\):  nobody catches it", 6),
    "stack": Death(r"ended by signal 11 \(SIGSEGV\)", 11),
    "memory": Refusal("out of memory"),
    "kill": Death(r"ended by signal 9 \(SIGKILL\)", 9),
    "close": Death("exit status 0"),  # it finds that it has nobody to answer
    "rubbish": Death("it has sent what is no answer", 9),
}
if not BOUNDED_MEMORY:
    del DEATHS["memory"]


class Crashes(ProcessTest):
    """Each way to die on its own, and then all of them among much that is well."""

    def test_each_is_told_as_it_is(self):
        server, client = self.start()
        for kind in ("crash", "crash-reused"):
            for how, death in DEATHS.items():
                with self.subTest(how, kind=kind):
                    self.assertEqual(self.text(client, apart("good", b"ab")), "ba")
                    name = client.submit(apart(kind, how.encode())).name
                    if how == "kill":
                        os.kill(self.pid_of(server, client, name), signal.SIGKILL)
                    job = client.join(name)
                    self.assertEqual((job.state, len(job.attempts)), (Job.FAILED, 1))
                    death.check(self, job)
                    self.assertEqual(job.error.SerializeToString(), job.attempts[0].error.SerializeToString())
                    self.assertNotIn("all is well", job.error.message, "these are the words of another job")
                    self.assertEqual(server.get("/readyz")[0], 200)

    def test_one_that_hangs_up_and_stays_is_ended(self):
        server, client = self.start()
        job = client.run(apart("crash", b"close-and-stay"))
        Death("it has closed its socket", 9).check(self, job)
        self.only_the_fork_server_is_left(server)
        self.no_folder_is_left()

    def test_much_noise_before_death_does_not_block_it(self):
        _, client = self.start()
        job = client.run(apart("crash", b"noise"))
        Death(r"ended by signal 6 \(SIGABRT\); the end of its stderr: .*n \| after much noise", 6).check(self, job)
        self.assertLess(len(job.error.message), 1000)

    def test_limits_are_named(self):
        _, client = self.start(config(limits="max_cpu_time { seconds: 1 } max_file_bytes: 5000"))
        Death(r"ended by signal 24 \(SIGXCPU\): it reached its limit of 1 s of CPU time", 24).check(
            self, client.run(apart("crash", b"cpu")))
        Death(r"ended by signal 25 \(SIGXFSZ\): a file reached its limit of 5000 bytes", 25).check(
            self, client.run(apart("crash", b"file")))

    def kill_those_that_wait_for_it(self, server, stop, killed):
        client = Client(server.grpc)
        try:
            request = js.ListJobsRequest(filter='state = RUNNING AND labels.how = "kill"', page_size=100)
            while not stop.wait(0.02):
                for job in client.jobs.ListJobs(request, timeout=PATIENCE).jobs:
                    pid = job.attempts[-1].process_id
                    # While the job runs the number cannot be another's.
                    if job.name not in killed and pid not in (0, server.pid):
                        os.kill(pid, signal.SIGKILL)
                        killed.add(job.name)
        finally:
            client.close()

    def test_a_thousand_deaths_among_ten_thousand_that_are_well(self):
        server, client = self.start(config(idle_timeout=1))
        pool = blocking_pool(client)
        # What the server keeps from the first jobs on.
        self.run_batch(client, [apart("good", b"x") for _ in range(100)])
        self.only_the_fork_server_is_left(server)
        descriptors = server.descriptors()

        ways = [(how, kind) for how in DEATHS for kind in ("crash", "crash-reused")]
        count = 11_000 // SLOW
        jobs = []
        for i in range(count):
            if i % 11 == 5:
                how, kind = ways[i // 11 % len(ways)]
                jobs.append(apart(kind, how.encode(), labels={"how": how}))
            else:
                jobs.append(apart("good-fresh" if i % 110 == 0 else "good", b"number %d" % i))
        stop, killed = threading.Event(), set()
        killer = threading.Thread(target=self.kill_those_that_wait_for_it, args=(server, stop, killed))
        killer.start()
        try:
            ended = self.run_batch(client, jobs)
        finally:
            stop.set()
            killer.join()

        counts = collections.Counter()
        for job, done in zip(jobs, ended, strict=True):
            how = job.labels.get("how")
            counts[how] += 1
            if how is None:
                self.assertEqual((done.state, done.result.custom.payload), (Job.SUCCEEDED, job.custom.payload[::-1]),
                                 done.error)
            else:
                self.assertEqual((done.state, len(done.attempts)), (Job.FAILED, 1), how)
                with self.subTest(how):
                    DEATHS[how].check(self, done)
        self.assertEqual(counts[None], 10_000 // SLOW)
        bad = 1000 // SLOW
        self.assertTrue(all(abs(counts[how] - bad / len(DEATHS)) <= 2 for how in DEATHS), counts)
        self.assertEqual(len(killed), counts["kill"])

        self.assertEqual(server.get("/readyz")[0], 200)
        self.assertEqual(self.text(client, apart("good", b"abc")), "cba")
        metrics = server.metrics()
        for state, number in (("succeeded", counts[None] + 101), ("failed", bad)):
            self.assertEqual(metrics.sum("jobpool_jobs_finished_total", kind="custom", state=state), number)
        # Zombies would be listed with the rest.
        self.only_the_fork_server_is_left(server)
        self.no_folder_is_left()
        eventually(lambda: server.descriptors() <= descriptors,
                   what=f"the server has {descriptors} descriptors again, not {server.descriptors()}")
        now = blocking_pool(client)
        for field in ("state", "min_threads", "max_threads", "idle_timeout", "max_queued_jobs", "stop_grace",
                      "queued_jobs", "running_jobs", "scheduled_jobs", "retiring_threads"):
            self.assertEqual(getattr(now, field), getattr(pool, field), field)
        eventually(lambda: [w.state for w in client.workers("blocking")] == [Thread.IDLE] * 8, what="its threads idle")
        self.assertEqual(self.workers(client), [])

    @staticmethod
    def run_batch(client, jobs, size=1000):
        """The ended jobs, with their results."""
        names = []
        for i in range(0, len(jobs), size):
            request = js.BatchSubmitJobsRequest(requests=[js.SubmitJobRequest(job=job) for job in jobs[i:i + size]])
            names += [job.name for job in client.jobs.BatchSubmitJobs(request, timeout=PATIENCE).jobs]
        ended = []
        for i in range(0, len(names), size):
            answer = client.wait(names[i:i + size], call_timeout=10 * PATIENCE)
            assert not answer.timed_out, "they do not end"
            ended += answer.jobs
        return ended


class Replaced(ProcessTest):
    """Processes that are killed from outside."""

    def test_a_killed_idle_one_is_replaced(self):
        server, client = self.start(config("min_idle: 2"))
        for _ in range(3):
            waiting = eventually(lambda: len(w := self.workers(client)) == 2 and w, what="two are there")
            os.kill(waiting[0].process_id, signal.SIGKILL)
            eventually(lambda pid=waiting[0].process_id: pid not in [w.process_id for w in self.workers(client)],
                       what="the killed one is gone")
        job = self.succeeds(client, apart("good", b"abc"))
        self.assertEqual(job.result.custom.payload, b"cba")
        self.assertEqual(server.get("/readyz")[0], 200)

    def test_a_killed_one_that_was_used_is_not_given_a_job(self):
        _, client = self.start()
        pids = []
        for _ in range(5):
            pids.append(self.succeeds(client, apart("good", b"x")).attempts[0].process_id)
            os.kill(pids[-1], signal.SIGKILL)
            eventually(lambda: not self.workers(client), what="it is gone")
        self.assertEqual(len(set(pids)), 5)

    def test_a_killed_keeper_takes_its_worker_along_and_no_other(self):
        server, client = self.start()
        names = [client.submit(apart("crash", b"kill")).name for _ in range(2)]
        pids = [self.pid_of(server, client, name) for name in names]
        with open(f"/proc/{pids[0]}/stat", encoding="utf-8") as stat:
            keeper = int(stat.read().rpartition(")")[2].split()[1])
        self.assertNotEqual(keeper, server.pid)
        os.kill(keeper, signal.SIGKILL)
        job = client.join(names[0])
        self.assertEqual((job.state, job_reason(job)), (Job.FAILED, "PROCESS_DIED"), job.error)
        eventually(lambda: not os.path.exists(f"/proc/{pids[0]}"), what="its worker has ended")
        self.assertEqual(client.get(names[1]).state, Job.RUNNING)
        client.cancel(names[1])
        self.assertEqual(client.join(names[1]).state, Job.CANCELLED)
        self.only_the_fork_server_is_left(server)

    def test_a_killed_fork_server_is_replaced(self):
        server, client = self.start()
        name = client.submit(apart("crash", b"kill")).name
        self.pid_of(server, client, name)
        (fork_server,) = [pid for pid, (comm, _) in processes_below(server.pid).items() if comm == FORK_SERVER
                          and self.parent(pid) == server.pid]
        os.kill(fork_server, signal.SIGKILL)
        eventually(lambda: processes_below(server.pid).get(fork_server, ("", "Z"))[1] == "Z", what="it is killed")
        self.assertEqual(self.text(client, apart("good", b"abc")), "cba")
        self.assertEqual(self.text(client, apart("good-fresh", b"abc")), "cba")
        eventually(lambda: "Z" not in [state for _, state in processes_below(server.pid).values()], what="it is reaped")
        if client.get(name).state == Job.RUNNING:  # its keeper goes on
            client.cancel(name)
        self.assertIn(client.join(name).state, (Job.FAILED, Job.CANCELLED))

    @staticmethod
    def parent(pid):
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
            return int(stat.read().rpartition(")")[2].split()[1])
