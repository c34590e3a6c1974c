"""A server that ends, by SIGTERM or SIGKILL, and the next one on its folder: what was acknowledged is there, and goes
on."""
import unittest
import uuid

import grpc
from google.protobuf import field_mask_pb2
from jobpool.v1 import job_pb2, job_service_pb2 as js, pool_service_pb2 as ps
from jobpool_e2e import ENDED, PATIENCE, eventually, job_reason, noop_job, seconds, sleep_job, unix_time
from store_e2e import StoreTest, ahead

Job = job_pb2.Job
LINE = "pools/line"
PRIORITIES = (1, 9, 4, 1, 9, 0, 4, 5)
SOON = 1.5  # when a job is scheduled while there is no server, perhaps


def reasons(job):
    """Why each of its attempts has failed, empty for one that has not."""
    return [job_reason(Job(error=attempt.error)) if attempt.HasField("error") else "" for attempt in job.attempts]


class Before:
    """What a server was asked for and has acknowledged."""

    def __init__(self, test, client):
        self.test = test
        self.client = client
        client.pools.PausePool(ps.PausePoolRequest(name=LINE))
        self.requests = {}  # by request_id
        self.line = self.queue()
        self.later = client.submit(noop_job(schedule_time=ahead(3600), labels={"of": "later"})).name
        self.soon = client.submit(noop_job(schedule_time=ahead(SOON))).name
        self.backoff = self.fail_once()
        self.running = self.request(sleep_job(600))
        self.cancelled_while_it_ran = client.submit(sleep_job(600)).name
        self.in_memory = [client.submit(job(durability=Job.MEMORY)).name
                          for job in (noop_job, lambda **fields: sleep_job(600, **fields),
                                      lambda **fields: noop_job(pool=LINE, **fields))]
        client.join(self.in_memory[0])
        client.running(self.in_memory[1])
        self.deleted = client.run(noop_job()).name
        client.jobs.DeleteJob(js.DeleteJobRequest(name=self.deleted), timeout=PATIENCE)
        client.running(self.running)
        self.update(self.running, display_name="renamed while it ran")
        self.ended = self.end_some()
        client.running(self.cancelled_while_it_ran)
        client.cancel(self.cancelled_while_it_ran)  # the last of all, so that its end may not have been stored
        self.waiting = [client.get(name) for name in (self.later, self.backoff)]
        self.kept = {*self.line, self.later, self.soon, self.backoff, self.running, self.cancelled_while_it_ran,
                     *self.ended}

    def request(self, job, **fields):
        request_id = str(uuid.uuid4())
        made = self.client.submit(job, request_id=request_id, **fields)
        self.test.assertEqual(made.durability, Job.DISK)
        self.requests[request_id] = (job, made.name)
        return made.name

    def update(self, name, **fields):
        self.client.jobs.UpdateJob(js.UpdateJobRequest(
            job=Job(name=name, **fields), update_mask=field_mask_pb2.FieldMask(paths=list(fields))), timeout=PATIENCE)

    def queue(self):
        """Jobs of a paused pool, in the order in which they are to start."""
        names = [self.request(noop_job(pool=LINE, priority=priority)) for priority in PRIORITIES]
        expected = [name for _, name in sorted(zip(PRIORITIES, names), key=lambda pair: -pair[0])]  # stable
        self.test.assertEqual(self.in_line(names), expected)
        self.update(expected[-1], priority=9, labels={"of": "the last"})
        self.update(expected[1], priority=0)
        return self.in_line(names)

    def in_line(self, names):
        return sorted(names, key=lambda name: self.client.jobs.ExplainJob(
            js.ExplainJobRequest(name=name), timeout=PATIENCE).place)

    def fail_once(self):
        """A job that waits for its second attempt."""
        name = self.client.submit(sleep_job(600, timeout=seconds(0.05), retry_policy={
            "max_attempts": 3, "initial_backoff": seconds(3000), "max_backoff": seconds(3000)})).name
        eventually(lambda: self.client.get(name).state == Job.SCHEDULED, what="it is in its backoff")
        return name

    def end_some(self):
        """The records of jobs that have ended, by name."""
        client = self.client
        cancelled = client.submit(noop_job(pool=LINE)).name
        client.cancel(cancelled)
        names = [self.request(noop_job(b"payload", labels={"of": "ended"}, display_name="näme")), cancelled,
                 client.submit(sleep_job(600, timeout=seconds(0.05))).name, client.submit(sleep_job(0.01)).name]
        jobs = [client.join(name) for name in names]
        self.test.assertEqual([job.state for job in jobs], [Job.SUCCEEDED, Job.CANCELLED, Job.FAILED, Job.SUCCEEDED])
        return {job.name: job for job in jobs}


class Restart(StoreTest):
    def start(self, *flags, **options):
        return super().start(self.config_flag(f'pools {{ name: "{LINE.partition("/")[2]}" max_threads: 1 }}'), *flags,
                             **options)

    def test_after_a_shutdown(self):
        server, client = self.start()
        before = Before(self, client)
        server.finish()
        self.check(before)

    def test_after_a_crash(self):
        server, client = self.start()
        before = Before(self, client)
        server.kill()
        self.check(before)

    def test_after_crashes_that_follow_each_other(self):
        server, client = self.start()
        before = Before(self, client)
        for attempt in range(1, 4):
            server.kill()
            server, client = self.start()
            job = eventually(lambda: (job := client.get(before.running)).state == Job.RUNNING and job)
            self.assertEqual(reasons(job), ["INTERRUPTED"] * attempt + [""])
        server.kill()
        self.check(before, crashes=4)

    def check(self, before, crashes=1):
        server, client = self.start()
        self.check_lists(before, client)
        self.check_what_waits(before, client)
        self.check_what_ran(before, client, crashes)
        for name, job in before.ended.items():
            self.assertEqual(str(client.get(name)), str(job))
        for name in (*before.in_memory, before.deleted):
            self.assertFalse(self.is_there(client, name), name)
        self.check_requests(before, client)
        new = client.submit(noop_job(pool=LINE))
        self.assertNotIn(new.display_name, {job.display_name for job in self.list_all(client) if job.name != new.name})
        server.finish()

    def check_lists(self, before, client):
        """Pages hold live and ended jobs together, each once."""
        for page_size in (3, 1000):
            jobs = self.list_all(client, page_size)
            self.assertEqual(sorted(job.name for job in jobs), sorted(before.kept))
            created = [(job.create_time.seconds, job.create_time.nanos) for job in jobs]
            self.assertEqual(created, sorted(created, reverse=True))
        self.assertEqual({job.durability for job in jobs}, {Job.DISK})
        for label, names in (("ended", [name for name, job in before.ended.items() if job.labels]),
                             ("later", [before.later])):
            self.assertEqual([job.name for job in self.list_all(client, filter=f"labels.of = {label}")], names)

    def check_what_waits(self, before, client):
        for job in before.waiting:
            self.assertEqual(str(client.get(job.name)), str(job))
        jobs = client.wait(before.line).jobs
        self.assertEqual({job.state for job in jobs}, {Job.SUCCEEDED})
        self.assertEqual([len(job.attempts) for job in jobs], [1] * len(jobs))
        starts = [unix_time(job.start_time) for job in jobs]
        self.assertEqual(starts, sorted(starts))  # which is the order in which they were queued
        self.assertEqual([(job.priority, dict(job.labels)) for job in jobs if job.labels], [(9, {"of": "the last"})])
        soon = client.join(before.soon)
        self.assertEqual(soon.state, Job.SUCCEEDED)
        self.assertGreaterEqual(unix_time(soon.start_time), unix_time(soon.schedule_time))

    def check_what_ran(self, before, client, crashes):
        job = client.running(before.running)  # though it may have one attempt only
        self.assertEqual(reasons(job), ["INTERRUPTED"] * crashes + [""])
        self.assertEqual([attempt.number for attempt in job.attempts], list(range(1, crashes + 2)))
        self.assertTrue(all(attempt.HasField("end_time") for attempt in job.attempts[:-1]))
        self.assertEqual(job.display_name, "renamed while it ran")
        job = eventually(lambda: (job := client.get(before.cancelled_while_it_ran)).state in ENDED and job,
                         what="who was told that it is cancelled finds it so")
        self.assertEqual((job.state, job_reason(job)), (Job.CANCELLED, "CANCEL_REQUESTED"))
        self.assertEqual(len(job.attempts), 1)

    def check_requests(self, before, client):
        for request_id, (job, name) in before.requests.items():
            self.assertEqual(client.submit(job, request_id=request_id).name, name)
            other = Job()
            other.CopyFrom(job)
            other.display_name = "other"
            error = self.fails(grpc.StatusCode.FAILED_PRECONDITION, client.submit, other, request_id=request_id)
            self.assertEqual(error.reason, "REQUEST_ID_REUSED")
        self.assertEqual(len(self.list_all(client)), len(before.kept))


if __name__ == "__main__":
    unittest.main()
