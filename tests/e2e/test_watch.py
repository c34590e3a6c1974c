"""WatchJobs: what happens to jobs, as it happens."""
import random
import threading
import unittest

import grpc
from google.protobuf import field_mask_pb2

from jobpool_e2e import E2eTest, PATIENCE, SLOW, eventually, job_pb2, js, noop_job, sleep_job

Event = js.JobEvent
State = job_pb2.Job.State
LIFE = ["QUEUED", "RUNNING", "SUCCEEDED"]


def watch(client, **fields):
    return client.jobs.WatchJobs(js.WatchJobsRequest(**fields), timeout=4 * PATIENCE)


def states(events):
    return [State.Name(event.job.state) for event in events if event.type != Event.PROGRESS]


class Watch(E2eTest):
    def submit_many(self, client, count):
        answer = client.jobs.BatchSubmitJobs(js.BatchSubmitJobsRequest(
            requests=[js.SubmitJobRequest(job=noop_job())] * count), timeout=PATIENCE)
        return [job.name for job in answer.jobs]

    def test_every_state_once_and_in_order(self):
        server, client = self.both()
        call = watch(client, filter="kind = noop", changes_only=True)
        next(call)
        names = self.submit_many(client, 3000)
        lives = {}
        ended = 0
        for message in call:
            for event in message.events:
                lives.setdefault(event.job.name, []).append(event)
                ended += event.type == Event.ENDED
            if ended == len(names):
                break
        call.cancel()
        self.assertEqual(set(lives), set(names))
        for name, events in lives.items():
            self.assertEqual(states(events), LIFE, name)
            self.assertEqual(events[0].type, Event.CREATED)
            times = [event.job.attempts[0].start_time for event in events[1:]]
            self.assertTrue(all(one == times[0] for one in times))

    def test_breaks_at_random_leave_nothing_out_and_repeat_nothing(self):
        server, client = self.both()
        chance = random.Random(7)
        first = watch(client, filter="pool = blocking OR pool = compute", changes_only=True)
        token = next(first).resume_token
        first.cancel()
        jobs = 1000
        done = threading.Event()

        def submit():
            for i in range(jobs):
                client.submit(sleep_job(0.001 * (i % 4)) if i % 3 == 0 else noop_job())
            done.set()

        submits = threading.Thread(target=submit)
        submits.start()
        self.addCleanup(submits.join)
        lives = {}
        ended = breaks = 0
        while ended < jobs:
            with grpc.insecure_channel(server.grpc, [("grpc.use_local_subchannel_pool", 1)]) as channel:
                stub = type(client.jobs)(channel)
                call = stub.WatchJobs(js.WatchJobsRequest(
                    filter="pool = blocking OR pool = compute", resume_token=token), timeout=4 * PATIENCE)
                for left, message in zip(range(chance.randrange(1, 20), 0, -1), call):
                    token = message.resume_token
                    for event in message.events:
                        lives.setdefault(event.job.name, []).append(event)
                        ended += event.type == Event.ENDED
                    if ended == jobs or left == 1:  # else it waits for one message more than it takes
                        break
                breaks += 1
        self.assertTrue(done.wait(PATIENCE))
        self.assertGreater(breaks, 3)
        self.assertEqual(len(lives), jobs)
        for name, events in lives.items():
            self.assertEqual(states(events), LIFE, name)

    def test_names_of_ended_jobs_end_at_once(self):
        _, client = self.both()
        names = [client.run(noop_job(b"x")).name for _ in range(3)]
        messages = list(watch(client, names=names))
        events = [event for message in messages for event in message.events]
        self.assertEqual({event.job.name for event in events}, set(names))
        self.assertTrue(all(event.type == Event.INITIAL and event.job.result.noop.payload == b"x" for event in events))

    def test_update_cancel_delete(self):
        _, client = self.both()
        name = client.submit(sleep_job(3600)).name
        client.running(name)
        # A name ends with its job; a filter hears of the deletion too.
        call = watch(client, filter='labels.team = "a"', changes_only=True)
        next(call)
        heard = []

        def hear(wanted):
            while wanted not in heard:
                heard.extend(Event.Type.Name(event.type) for event in next(call).events)

        for labels in ({"team": "a"}, {"team": "b"}):  # begins to match, stops to
            client.jobs.UpdateJob(js.UpdateJobRequest(job=job_pb2.Job(name=name, labels=labels),
                                                      update_mask=field_mask_pb2.FieldMask(paths=["labels"])))
        client.jobs.UpdateJob(js.UpdateJobRequest(job=job_pb2.Job(name=name, labels={"team": "a"}),
                                                  update_mask=field_mask_pb2.FieldMask(paths=["labels"])))
        client.cancel(name)
        hear("ENDED")
        client.jobs.DeleteJob(js.DeleteJobRequest(name=name))
        hear("DELETED")
        self.assertEqual([one for one in heard if one != "PROGRESS"],
                         ["CHANGED", "CHANGED", "CHANGED", "ENDED", "DELETED"])

    def test_slow_reader_is_cut_and_goes_on(self):
        server, client = self.both()
        slow = watch(client, filter="kind = noop", changes_only=True)
        token = next(slow).resume_token
        jobs = 30_000
        names = []
        for _ in range(3):
            names += self.submit_many(client, jobs // 3)
        client.wait(names[-10_000:])
        created, ended = [], 0
        with self.assertRaises(grpc.RpcError) as caught:
            for message in slow:
                token = message.resume_token
                created += [event.job.name for event in message.events if event.type == Event.CREATED]
                ended += sum(event.type == Event.ENDED for event in message.events)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertLess(ended, jobs)
        for message in watch(client, filter="kind = noop", changes_only=True, resume_token=token):
            created += [event.job.name for event in message.events if event.type == Event.CREATED]
            ended += sum(event.type == Event.ENDED for event in message.events)
            if ended == jobs:
                break
        self.assertEqual(len(created), jobs)
        self.assertEqual(set(created), set(names))

    @unittest.skipIf(SLOW > 1, "AddressSanitizer keeps what is freed")
    def test_memory_is_bounded(self):
        server, client = self.both(self.config_flag("limits { max_watch_events: 5000 max_ended_jobs: 20000 }"))

        def resident():
            with open(f"/proc/{server.pid}/statm", encoding="ascii") as statm:
                return int(statm.read().split()[1]) * 4096

        slow = [watch(client, filter="kind = noop", changes_only=True) for _ in range(20)]
        for call in slow:
            next(call)
        client.wait(self.submit_many(client, 10_000))  # what a server holds that has done some work
        before = resident()
        for _ in range(5):
            client.wait(self.submit_many(client, 10_000))
        self.assertLess(resident() - before, 150 << 20)
        for call in slow:
            call.cancel()

    def test_shutdown_is_the_last_message(self):
        server, client = self.both()
        name = client.submit(sleep_job(3600, durability=job_pb2.Job.MEMORY)).name
        kept = client.submit(sleep_job(3600)).name  # does not end: the next server goes on with it
        client.running(name), client.running(kept)
        filtered = watch(client, filter="kind = sleep")
        named, named_kept = watch(client, names=[name]), watch(client, names=[kept])
        next(filtered), next(named), next(named_kept)
        unread = watch(client, filter="kind = noop", changes_only=True)
        next(unread)
        self.submit_many(client, 5000)
        server.signal()
        messages = []
        with self.assertRaises(grpc.RpcError) as caught:
            for message in filtered:
                messages.append(message)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual([message.shutting_down for message in messages], [False] * (len(messages) - 1) + [True])
        ends = [event.job for message in messages for event in message.events if event.type == Event.ENDED]
        self.assertEqual([(job.name, job.state) for job in ends], [(name, job_pb2.Job.CANCELLED)])
        self.assertTrue(messages[-1].resume_token)
        ends = [event for message in named for event in message.events if event.type == Event.ENDED]
        self.assertEqual(len(ends), 1)  # all that it named have ended: that is its end, and OK
        self.assertEqual(self.fails(grpc.StatusCode.UNAVAILABLE, lambda: list(named_kept)).reason, "SHUTTING_DOWN")
        self.assertEqual(server.wait(), 0)

    def test_a_token_does_not_outlive_its_server(self):
        _, client = self.both()
        token = next(watch(client, filter="kind = noop")).resume_token
        _, other = self.both()
        self.fails(grpc.StatusCode.OUT_OF_RANGE, lambda: list(watch(other, filter="kind = noop", resume_token=token)))
        self.fails(grpc.StatusCode.INVALID_ARGUMENT, lambda: list(watch(client, filter="kind = hash", resume_token=token)))

    def test_metrics(self):
        server, client = self.both()
        call = watch(client, filter="kind = noop")
        next(call)
        label = {"grpc_service": "jobpool.v1.JobService", "grpc_method": "WatchJobs", "grpc_type": "server_stream"}
        self.assertEqual(server.metrics().sum("grpc_server_started_total", **label), 1)
        call.cancel()
        eventually(lambda: server.metrics().sum("grpc_server_handled_total", grpc_code="Canceled", **label) == 1)


if __name__ == "__main__":
    unittest.main()
