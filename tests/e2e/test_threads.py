"""jobpoold as a thread library: start, join, is-alive, name, enumerate, count, cancel."""
import os
import time

import grpc
from google.protobuf import field_mask_pb2
from jobpool.v1 import job_pb2, job_service_pb2 as js, pool_service_pb2 as ps, thread_pb2, thread_service_pb2 as ts
from jobpool_e2e import (ENDED, PATIENCE, SLOW, E2eTest, eventually, job_reason, noop_job, seconds, sleep_job,
                         spin_job, unix_time)

Job, Thread = job_pb2.Job, thread_pb2.Thread
ANY = js.WaitJobsRequest.ANY


class RollCall(E2eTest):
    def test_two_sleeping_jobs_are_a_main_thread_and_two_workers_that_go_when_idle(self):
        server, client = self.both()
        self.assertEqual(client.workers("blocking"), [])
        jobs = [client.submit(sleep_job(3, display_name=f"nap {i}")) for i in range(2)]
        for job in jobs:
            client.running(job.name)
        answer = client.list_threads()
        threads = answer.threads
        mains = [t for t in threads if t.role == Thread.MAIN]
        workers = [t for t in threads if t.pool == "pools/blocking"]
        self.assertEqual([t.display_name for t in mains], ["MainThread"])
        self.assertEqual(mains[0].os_thread_id, server.pid)
        self.assertEqual(len(workers), 2)
        self.assertEqual({(t.job, t.job_display_name) for t in workers}, {(j.name, j.display_name) for j in jobs})
        for worker in workers:
            self.assertEqual((worker.role, worker.state), (Thread.WORKER, Thread.RUNNING))
            self.assertRegex(worker.display_name, r"^Thread-\d+$")
            self.assertEqual(worker.native_name, server.native_name(worker.os_thread_id))
        self.assertEqual(answer.counts_by_role["MAIN"], 1)
        self.assertEqual(answer.total_size, len(threads))
        self.assertEqual(sum(answer.counts_by_role.values()), len(threads))

        ends = [unix_time(client.join(job.name).end_time) for job in jobs]
        self.assertEqual(len(client.workers("blocking")), 2)  # idle, not gone
        gone = eventually(lambda: not client.workers("blocking") and time.time(), what="idle workers go")
        self.assertGreaterEqual(gone - min(ends), 9.9)  # the wall clock may be adjusted a little
        self.assertLessEqual(gone - max(ends), 11 * SLOW)
        later = client.list_threads()
        self.assertEqual(later.total_size, answer.total_size - 2)
        self.assertEqual(later.snapshot_version, answer.snapshot_version + 2)  # two ends, nothing else
        for worker in workers:
            self.fails(grpc.StatusCode.NOT_FOUND, client.threads.GetThread, ts.GetThreadRequest(name=worker.name))
            task = f"/proc/{server.pid}/task/{worker.os_thread_id}"
            eventually(lambda: not os.path.exists(task), what="its thread of the system goes too")

    def test_attempt_tells_who_ran_the_job(self):
        server, client = self.both()
        job = client.running(client.submit(sleep_job(60)).name)
        self.assertTrue(job.alive)
        (attempt,) = job.attempts
        thread = client.threads.GetThread(ts.GetThreadRequest(name=attempt.thread))
        self.assertEqual((attempt.number, attempt.process_id), (1, server.pid))
        self.assertEqual(attempt.os_thread_id, thread.os_thread_id)
        self.assertTrue(os.path.exists(f"/proc/{server.pid}/task/{attempt.os_thread_id}"))
        self.assertEqual((thread.job, attempt.thread_display_name), (job.name, thread.display_name))

    def test_current_thread_serves_calls_and_answers_roll_call(self):
        server, client = self.both()
        current = client.threads.GetCurrentThread(ts.GetCurrentThreadRequest())
        self.assertEqual((current.role, current.state), (Thread.SERVICE, Thread.RUNNING))
        self.assertTrue(current.daemon)
        listed = {t.name: t for t in client.list_threads().threads}
        self.assertEqual(listed[current.name].os_thread_id, current.os_thread_id)
        own = {t.os_thread_id for t in listed.values()}
        self.assertTrue(own <= {int(tid) for tid in os.listdir(f"/proc/{server.pid}/task")})
        answer = client.list_threads(include_os_threads=True)
        self.assertTrue(answer.os_threads)  # gRPC's
        self.assertFalse({t.os_thread_id for t in answer.os_threads} & own)
        self.assertEqual(answer.total_size, len(answer.threads))


class Rename(E2eTest):
    def rename(self, client, name, display_name, paths=("display_name",)):
        return client.threads.UpdateThread(ts.UpdateThreadRequest(
            thread={"name": name, "display_name": display_name}, update_mask=field_mask_pb2.FieldMask(paths=paths)))

    def test_name_stays_with_the_worker_in_list_kernel_and_log(self):
        server, client = self.both()
        first = client.run(noop_job(pool="pools/blocking"))
        worker = first.attempts[0].thread
        tid = first.attempts[0].os_thread_id
        for name, native in [("monitor", "monitor"), ("x" * 64, "x" * 15),
                             ("ééééééééé", "é" * 7),  # 18 bytes; 15 would cut the eighth in two
                             ("a€€€€€", "a€€€€"), ("😀😀😀😀", "😀😀😀"), ("日本語スレッド", "日本語スレ")]:
            renamed = self.rename(client, worker, name)
            self.assertEqual((renamed.display_name, renamed.native_name), (name, native))
            self.assertEqual(server.native_name(tid), native)
            self.assertEqual([t.display_name for t in client.workers("blocking")], [name])
            job = client.run(noop_job(pool="pools/blocking"))
            self.assertEqual((job.attempts[0].thread, job.attempts[0].thread_display_name), (worker, name))
            eventually(lambda: f'thread="{name}"' in "".join(
                line for line in server.log().splitlines() if f"job={job.name} " in line), what="the log has it")
        self.assertEqual([t.jobs_run for t in client.workers("blocking")], [7])

    def test_main_thread_and_busy_worker(self):
        server, client = self.both()
        (main,) = [t for t in client.list_threads().threads if t.role == Thread.MAIN]
        self.rename(client, main.name, "boss", ["*"])
        self.assertEqual(server.native_name(server.pid), "boss")
        job = client.running(client.submit(sleep_job(60)).name)
        self.rename(client, job.attempts[0].thread, "napper", [])
        (worker,) = client.workers("blocking")
        self.assertEqual((worker.display_name, worker.job), ("napper", job.name))


class Join(E2eTest):
    def test_three_sleeps_submitted_together_take_as_long_as_the_longest(self):
        _, client = self.both()
        best = None
        for _ in range(3):
            start = time.monotonic()
            names = [client.submit(sleep_job(s)).name for s in (1, 2, 3)]
            answer = client.wait(names)
            best = min(time.monotonic() - start, best or PATIENCE)
            self.assertEqual([(j.name, j.state) for j in answer.jobs], [(n, Job.SUCCEEDED) for n in names])
            self.assertFalse(answer.timed_out)
            self.assertTrue(answer.HasField("timed_out"))
            if best <= 3.010:
                break
        self.assertGreaterEqual(best, 3)
        self.assertLessEqual(best, 3.010 if SLOW == 1 else 3 + SLOW)

    def test_wait_that_runs_out_is_an_answer(self):
        _, client = self.both()
        short, long = client.submit(noop_job()), client.submit(sleep_job(600))
        client.join(short.name)
        client.running(long.name)
        names = [long.name, short.name, long.name]
        states = [Job.RUNNING, Job.SUCCEEDED, Job.RUNNING]
        for timeout in (0, 0.3):
            start = time.monotonic()
            answer = client.wait(names, timeout=seconds(timeout))
            self.assertGreaterEqual(time.monotonic() - start, timeout)
            self.assertTrue(answer.timed_out)
            self.assertEqual([j.name for j in answer.jobs], names)
            self.assertEqual([j.state for j in answer.jobs], states)
            self.assertEqual([j.alive for j in answer.jobs], [True, False, True])
        ended = client.wait([short.name], timeout=seconds(0))
        self.assertEqual((ended.HasField("timed_out"), ended.timed_out), (True, False))
        answer = client.wait(names, mode=ANY)
        self.assertFalse(answer.timed_out)
        self.assertEqual([(j.name, j.state) for j in answer.jobs], list(zip(names, states)))

    def test_any_answers_at_the_first_end(self):
        _, client = self.both()
        long = client.submit(sleep_job(600))
        short = client.submit(sleep_job(0.2))
        answer = client.wait([long.name, short.name], mode=ANY)
        self.assertEqual([j.state for j in answer.jobs], [Job.RUNNING, Job.SUCCEEDED])
        self.assertTrue(client.wait([long.name], mode=ANY, timeout=seconds(0)).timed_out)

    def test_a_thousand_join_one_job(self):
        _, client = self.both()
        job = client.submit(sleep_job(600))
        waits = [client.jobs.WaitJobs.future(js.WaitJobsRequest(names=[job.name]), timeout=2 * PATIENCE)
                 for _ in range(1000)]
        for wait in waits[:100]:
            wait.cancel()
        client.running(job.name)
        client.cancel(job.name)
        self.assertEqual({wait.result().jobs[0].state for wait in waits[100:]}, {Job.CANCELLED})

    def test_without_a_timeout_it_answers_before_the_deadline_of_the_call(self):
        _, client = self.both()
        job = client.submit(sleep_job(600))
        deadline = 1 if SLOW == 1 else 5  # from 10 s on gRPC rounds it up by as much as the server's margin
        start = time.monotonic()
        answer = client.wait([job.name], call_timeout=deadline)
        self.assertTrue(answer.timed_out)
        self.assertGreater(time.monotonic() - start, 0.8 * deadline)
        self.assertLess(time.monotonic() - start, deadline)

    def test_one_unknown_name_is_not_found(self):
        _, client = self.both()
        job = client.submit(sleep_job(600))
        for mode in (js.WaitJobsRequest.ALL, ANY):
            error = self.fails(grpc.StatusCode.NOT_FOUND, client.wait, [job.name, "jobs/nobody"], mode=mode)
            self.assertEqual(error.reason, "JOB_NOT_FOUND")
            self.assertEqual(error.details["ResourceInfo"][0].resource_name, "jobs/nobody")


class Cancel(E2eTest):
    def test_run_job_belongs_to_its_caller_unless_detached(self):
        _, client = self.both()

        def run(job_id, **options):
            return client.jobs.RunJob.future(
                js.RunJobRequest(job=sleep_job(600), job_id=job_id, detach=job_id.startswith("detach")), **options)

        def known(name):
            try:
                return client.get(name).state == Job.RUNNING
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.NOT_FOUND)

        for job_id in ("own", "detached"):
            call = run(job_id)
            eventually(lambda: known("jobs/" + job_id), what=f"{job_id} runs")
            call.cancel()
        for job_id in ("own-late", "detached-late"):
            with self.assertRaises(grpc.RpcError) as caught:
                run(job_id, timeout=0.5 * SLOW).result()
            self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        for job_id in ("own", "own-late"):
            job = client.join("jobs/" + job_id)
            self.assertEqual((job.state, job_reason(job)), (Job.CANCELLED, "CALLER_GONE"))
        for job_id in ("detached", "detached-late"):
            self.assertEqual(client.get("jobs/" + job_id).state, Job.RUNNING)

    def test_queued_running_and_ended_job(self):
        _, client = self.both()
        width = client.pools.GetPool(ps.GetPoolRequest(name="pools/compute")).max_threads
        running = [client.submit(spin_job(3600)) for _ in range(width)]
        for job in running:
            client.running(job.name)
        queued = client.submit(noop_job())
        self.assertEqual(client.get(queued.name).state, Job.QUEUED)
        answer = client.cancel(queued.name)  # nothing holds it: it ends at once
        self.assertEqual((answer.state, job_reason(answer)), (Job.CANCELLED, "CANCEL_REQUESTED"))
        self.assertEqual(len(answer.attempts), 0)
        for _ in range(2):  # asking again is no error while it runs
            try:
                answer = client.cancel(running[0].name)
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.FAILED_PRECONDITION)  # it was quick
        job = client.join(running[0].name)
        self.assertEqual((job.state, job_reason(job)), (Job.CANCELLED, "CANCEL_REQUESTED"))
        self.assertEqual(job.attempts[0].error.code, grpc.StatusCode.CANCELLED.value[0])
        for name in (queued.name, job.name):
            error = self.fails(grpc.StatusCode.FAILED_PRECONDITION, client.cancel, name)
            self.assertEqual(error.reason, "JOB_ENDED")

    def test_every_kind_ends_within_50_ms_of_being_asked_to(self):
        _, client = self.both()
        kinds = {
            "sleep": (sleep_job(600), True),
            "primes": (Job(compute={"primes": {"limit": 10**12}}), True),
            "fibonacci": (Job(compute={"fibonacci": {"index": 10**6}}), False),
            "pi": (Job(compute={"pi": {"digits": 200000}}), False),
            "hash": (Job(compute={"hash": {"bytes": 2**40}}), True),
            "spin": (spin_job(3600), True),
        }
        for kind, (work, endless) in kinds.items():
            with self.subTest(kind):
                best = PATIENCE
                for _ in range(3):
                    job = client.submit(work)
                    eventually(lambda: client.get(job.name).state in (Job.RUNNING, *ENDED), poll=0.001)
                    asked = time.time()
                    try:
                        client.cancel(job.name)
                    except grpc.RpcError as error:  # those that are not endless may be done first
                        self.assertEqual(error.code(), grpc.StatusCode.FAILED_PRECONDITION)
                        self.assertFalse(endless)
                    ended = client.join(job.name)
                    self.assertIn(ended.state, (Job.CANCELLED,) if endless else (Job.CANCELLED, Job.SUCCEEDED))
                    best = min(best, unix_time(ended.end_time) - asked)
                self.assertLessEqual(best, 0.050 * SLOW)
