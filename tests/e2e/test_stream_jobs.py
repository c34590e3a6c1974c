"""StreamJobs: many jobs on one call, and their ends under their tags."""
import queue
import threading
import unittest
import uuid

import grpc
from google.rpc import error_details_pb2

from jobpool_e2e import E2eTest, PATIENCE, SLOW, Client, eventually, job_pb2, job_reason, js, noop_job, sleep_job
from store_e2e import DiskControl, StoreTest

Job = job_pb2.Job
SERVING = 1


def message(jobs, detach=False, **fields):
    """One message of (tag, job)."""
    return js.StreamJobsRequest(entries=[
        {"tag": tag, "request": js.SubmitJobRequest(job=job, **fields), "detach": detach} for tag, job in jobs])


def noops(first, count, payload=b"", **fields):
    return message([(tag, noop_job(payload, **fields)) for tag in range(first, first + count)])


def reason(status):
    info = error_details_pb2.ErrorInfo()
    return next(info.reason for packed in status.details if packed.Unpack(info))


class Stream:
    """One call, which sends `requests`, or what `send` is given; that never waits."""

    def __init__(self, client, requests=None):
        self._messages = queue.SimpleQueue()
        self.call = client.jobs.StreamJobs(requests or iter(self._messages.get, None), timeout=4 * PATIENCE)
        self._entries = iter(())

    def send(self, request):
        self._messages.put(request)

    def end_sending(self):
        self._messages.put(None)

    def next(self):
        while True:
            for entry in self._entries:
                return entry
            self._entries = iter(next(self.call).entries)

    def read(self, count):
        """So many answers by their tags."""
        answers = {}
        for _ in range(count):
            entry = self.next()
            assert entry.tag not in answers, entry.tag
            answers[entry.tag] = entry
        return answers

    def rest(self):
        """All that are left, up to the end."""
        entries = [*self._entries, *(entry for answer in self.call for entry in answer.entries)]
        assert len({entry.tag for entry in entries}) == len(entries)
        return {entry.tag: entry for entry in entries}


class StreamsTest:
    def stream(self, client, requests=None):
        stream = Stream(client, requests)
        self.addCleanup(stream.end_sending)
        self.addCleanup(stream.call.cancel)
        return stream


class StreamJobs(StreamsTest, E2eTest):
    def test_every_entry_is_answered_once(self):
        server, client = self.both()
        streams = [self.stream(self.client(server)) for _ in range(4)]
        for first in range(0, 3000, 500):
            for number, stream in enumerate(streams):
                stream.send(noops(first, 500, b"%d" % number, durability=Job.DISK if number % 2 else Job.MEMORY))
        for number, stream in enumerate(streams):
            stream.end_sending()
            answers = stream.rest()
            self.assertEqual(set(answers), set(range(3000)))
            self.assertEqual({(entry.job.state, entry.job.result.noop.payload) for entry in answers.values()},
                             {(Job.SUCCEEDED, b"%d" % number)})
        self.assertEqual(client.run(noop_job()).state, Job.SUCCEEDED)
        label = {"grpc_service": "jobpool.v1.JobService", "grpc_method": "StreamJobs", "grpc_type": "bidi_stream"}
        metrics = server.metrics()
        self.assertEqual(metrics.sum("grpc_server_started_total", **label), 4)
        self.assertEqual(metrics.sum("jobpool_jobs_submitted_total", kind="noop"), 12_001)
        eventually(lambda: server.metrics().sum("grpc_server_handled_total", grpc_code="OK", **label) == 4)

    def test_refusals_are_counted_as_those_of_other_calls(self):
        server, client = self.both()
        stream = self.stream(client)
        stream.send(message([(1, noop_job()), (2, sleep_job(-1)), (3, noop_job(pool="pools/none")), (4, noop_job())]))
        answers = stream.read(4)
        self.assertEqual([answers[tag].WhichOneof("outcome") for tag in (1, 2, 3, 4)], ["job", "error", "error", "job"])
        self.assertEqual([reason(answers[tag].error) for tag in (2, 3)], ["INVALID_FIELD", "POOL_NOT_FOUND"])
        metrics = server.metrics()
        for why in ("invalid_field", "pool_not_found"):
            self.assertEqual(metrics.sum("jobpool_jobs_rejected_total", reason=why), 1)

    def test_a_lost_connection_cancels_what_is_not_detached(self):
        server, client = self.both()
        caller = Client(server.grpc)
        stream = self.stream(caller)
        stream.send(message([(1, sleep_job(3600))], job_id="mine"))
        stream.send(message([(2, sleep_job(3600))], job_id="detached", detach=True))
        stream.send(noops(3, 1))
        self.assertEqual(stream.next().tag, 3)
        client.running("jobs/mine"), client.running("jobs/detached")
        caller.close()
        self.assertEqual(job_reason(client.join("jobs/mine")), "CALLER_GONE")
        self.assertEqual(client.get("jobs/detached").state, Job.RUNNING)

    @unittest.skipIf(SLOW > 1, "AddressSanitizer keeps what is freed")
    def test_who_does_not_read_is_held_up_in_bounded_memory(self):
        server, client = self.both("--store=memory", self.config_flag("limits { max_ended_bytes: 16777216 }"))

        def resident():
            with open(f"/proc/{server.pid}/statm", encoding="ascii") as statm:
                return int(statm.read().split()[1]) * 4096

        for _ in range(3):  # what a server holds that has done some work
            stream = self.stream(client)
            stream.send(noops(0, 500, bytes(16 << 10)))
            stream.end_sending()
            stream.rest()
        before = resident()
        submitted_before = server.metrics().sum("jobpool_jobs_submitted_total", kind="noop")
        jobs = 20_000  # 320 MiB, and answers of twice as much

        def submitted():
            return server.metrics().sum("jobpool_jobs_submitted_total", kind="noop") - submitted_before

        sent = threading.Event()

        def requests():
            for first in range(0, jobs, 100):
                yield noops(first, 100, bytes(16 << 10))
            sent.set()

        # Else the caller's own gRPC takes tens of MiB ahead.
        stream = self.stream(self.client(server, [("grpc.http2.bdp_probe", 0)]), requests())
        eventually(lambda: submitted() >= 1000)
        seen = []

        def still():
            seen.append(submitted())
            return len(seen) > 25 and seen[-25] == seen[-1]

        eventually(still, what="no more is read")
        self.assertFalse(sent.is_set())
        self.assertLess(seen[-1], jobs / 4)
        self.assertLess(resident() - before, 150 << 20)
        self.assertEqual(client.run(noop_job()).state, Job.SUCCEEDED)  # others are served meanwhile
        self.assertEqual(len(stream.rest()), jobs)
        self.assertTrue(sent.is_set())


class StreamJobsOnDisk(StreamsTest, StoreTest):
    def test_requests_sent_again_after_a_crash_get_the_same_jobs(self):
        server, client = self.start()
        requests = {tag: str(uuid.uuid4()) for tag in range(200)}

        def send(stream):
            stream.send(js.StreamJobsRequest(entries=[
                {"tag": tag, "detach": True, "request": {"job": noop_job(b"%d" % tag), "request_id": request}}
                for tag, request in requests.items()]))

        stream = self.stream(client)
        send(stream)
        told = stream.read(50)  # these are on the disk
        server.kill()
        _, client = self.start()
        stream = self.stream(client)
        send(stream)
        stream.end_sending()
        answers = stream.rest()
        self.assertEqual(set(answers), set(requests))
        for tag, entry in answers.items():
            self.assertEqual((entry.job.state, entry.job.result.noop.payload), (Job.SUCCEEDED, b"%d" % tag))
        self.assertEqual({tag: answers[tag].job.name for tag in told}, {tag: told[tag].job.name for tag in told})

    def test_a_job_that_cannot_be_kept_is_refused_under_its_tag(self):
        disk = DiskControl(self.folder, self.state)
        _, client = self.start(env=disk.env)
        stream = self.stream(client)
        stream.send(noops(0, 10))
        self.assertEqual({entry.job.state for entry in stream.read(10).values()}, {Job.SUCCEEDED})
        disk.be("read-only")
        for first in (10, 20):  # the first is accepted, since nobody knows yet
            stream.send(message([(first, noop_job()), (first + 1, noop_job(durability=Job.MEMORY))]))
            answers = stream.read(2)
            self.assertEqual(reason(answers[first].error), "STORE_UNAVAILABLE")
            self.assertEqual(answers[first + 1].job.state, Job.SUCCEEDED)
        disk.be("")
        eventually(lambda: client.health() == SERVING, what="it recovers")
        stream.send(noops(30, 1))
        self.assertEqual(stream.next().job.state, Job.SUCCEEDED)


if __name__ == "__main__":
    unittest.main()
