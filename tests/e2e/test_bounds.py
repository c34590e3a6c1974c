"""The contract's table "Defaults and bounds": each row is tested at, below and above its bound. Here is what needs
many jobs or threads, or a config file; the rest stands where its subject is:

    page size                       here; unit/page_size_test.cc; the default of 50 also in test_calls
    names in WaitJobs               test_bad_input (test_waits)
    requests in a batch             test_requests (test_how_many)
    display_name of a job           test_bad_input (JOBS, test_updates); unit/validation_test.cc; the default in test_calls
    display_name of a thread        test_threads (64 characters), test_bad_input (test_updates: none, 65)
    job_id                          test_bad_input (JOB_IDS, test_submission)
    request_id                      test_requests; for how long: unit/request_ids_test.cc; how many: here
    labels                          test_bad_input (JOBS); unit/validation_test.cc
    retention                       test_bad_input (JOBS); the default, and its end, in test_calls
    ended jobs kept                 here; unit/memory_store_test.cc; the default in unit/config_file_test.cc
    queued jobs a pool              here; integration/limits_test.cc; unit/admission_test.cc; the default in test_calls
    message received                test_robustness (test_messages_that_are_too_large); by flag: here
    work                            test_bad_input (JOBS); unit/validation_test.cc
    connections of echo             test_echo
"""
import uuid

import grpc
from jobpool.v1 import job_pb2, job_service_pb2 as js
from jobpool_e2e import PATIENCE, E2eTest, eventually, noop_job, sleep_job

Job = job_pb2.Job
FULL = grpc.StatusCode.RESOURCE_EXHAUSTED
KIB = 1 << 10


class Bounds(E2eTest):
    def batch(self, client, count, job):
        request = js.BatchSubmitJobsRequest(requests=[js.SubmitJobRequest(job=job)] * count)
        return [job.name for job in client.jobs.BatchSubmitJobs(request, timeout=PATIENCE).jobs]

    def test_page_of_jobs(self):
        _, client = self.both()
        client.wait(self.batch(client, 1002, noop_job()))
        for asked, given in ((0, 50), (1, 1), (999, 999), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)):
            page = client.jobs.ListJobs(js.ListJobsRequest(page_size=asked), timeout=PATIENCE)
            self.assertEqual(len(page.jobs), given, asked)
            self.assertTrue(page.next_page_token)
        rest = client.jobs.ListJobs(js.ListJobsRequest(page_size=1000, page_token=page.next_page_token))
        self.assertEqual((len(rest.jobs), rest.next_page_token), (2, ""))

    def test_page_of_threads(self):
        _, client = self.both(self.config_flag('pools { name: "blocking" max_threads: 1100 }'))
        self.batch(client, 1100, sleep_job(600))
        total = eventually(lambda: (count := client.active_count()).counts_by_role["WORKER"] >= 1100
                           and count.active_count, what="they all run")
        for asked, given in ((0, 1000), (999, 999), (1000, 1000), (1001, 1001), (total, total), (2**31 - 1, total)):
            page = client.list_threads(page_size=asked)
            self.assertEqual((len(page.threads), page.total_size), (given, total), asked)
            self.assertEqual(bool(page.next_page_token), given < total)

    def test_queued_jobs_a_pool(self):
        server, client = self.both(self.config_flag('pools { name: "blocking" max_threads: 1 max_queued_jobs: 3 }'))
        client.running(client.submit(sleep_job(600)).name)
        for _ in range(2):
            client.submit(sleep_job(600))
        self.fails(FULL, self.batch, client, 2, sleep_job(600))  # one of them had its place
        last = client.submit(sleep_job(600)).name
        error = self.fails(FULL, client.submit, sleep_job(600))
        self.assertEqual((error.reason, error.details["ErrorInfo"][0].metadata["limit"]), ("QUEUE_FULL", "3"))
        self.assertEqual(server.metrics().sum("jobpool_jobs", pool="blocking", state="queued"), 3)
        client.cancel(last)
        client.submit(sleep_job(600))
        self.assertEqual(client.run(noop_job()).state, Job.SUCCEEDED)  # of another pool

    def test_request_ids(self):
        _, client = self.both(self.config_flag("limits { max_request_ids: 2 }"))
        known = [str(uuid.uuid4()) for _ in range(2)]
        names = [client.submit(noop_job(), request_id=request).name for request in known]
        error = self.fails(FULL, client.submit, noop_job(), request_id=str(uuid.uuid4()))
        self.assertEqual(error.reason, "REQUEST_IDS_FULL")
        self.assertEqual([client.submit(noop_job(), request_id=request).name for request in known], names)
        client.submit(noop_job())

    def test_ended_jobs_kept_in_memory(self):
        _, client = self.both(self.config_flag("limits { max_ended_jobs: 3 }"))
        on_disk = [client.run(noop_job()).name for _ in range(4)]  # as long as they are retained
        names = [client.run(noop_job(durability=Job.MEMORY)).name for _ in range(3)]
        for name in names:
            client.get(name)
        names.append(client.run(noop_job(durability=Job.MEMORY)).name)
        self.fails(grpc.StatusCode.NOT_FOUND, client.get, names[0])  # which would have expired first
        self.assertEqual([job.name for job in client.jobs.ListJobs(js.ListJobsRequest()).jobs],
                         [*names[:0:-1], *reversed(on_disk)])

    def test_message_received(self):
        _, client = self.both(f"--max_message_bytes={64 * KIB}")
        overhead = js.SubmitJobRequest(job=noop_job(bytes(60 * KIB))).ByteSize() - 60 * KIB
        for size in (64 * KIB - 1, 64 * KIB, 64 * KIB + 1):
            request = js.SubmitJobRequest(job=noop_job(bytes(size - overhead)))
            self.assertEqual(request.ByteSize(), size)
            if size <= 64 * KIB:
                client.jobs.SubmitJob(request, timeout=PATIENCE)
            else:
                with self.assertRaises(grpc.RpcError) as caught:
                    client.jobs.SubmitJob(request, timeout=PATIENCE)
                self.assertEqual(caught.exception.code(), FULL)
