"""Counts primes on a jobpool server, then calls its roll. See README.md."""
import sys

import grpc
from jobpool.v1 import job_service_pb2, job_service_pb2_grpc
from jobpool.v1 import thread_pb2, thread_service_pb2, thread_service_pb2_grpc

with grpc.insecure_channel(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051") as channel:
    jobs = job_service_pb2_grpc.JobServiceStub(channel)
    threads = thread_service_pb2_grpc.ThreadServiceStub(channel)

    job = jobs.SubmitJob(
        job_service_pb2.SubmitJobRequest(job={"compute": {"primes": {"limit": 1000000}}}), timeout=10)
    print(f"submitted {job.name} ({job.display_name})")
    answer = jobs.WaitJobs(job_service_pb2.WaitJobsRequest(names=[job.name]), timeout=60)
    if answer.timed_out or not answer.jobs[0].HasField("result"):
        sys.exit(f"{job.name} has no result: {answer.jobs[0].error.message or 'it has not ended'}")
    print(f"primes up to 1000000: {answer.jobs[0].result.compute.primes.count}")

    for thread in threads.ListThreads(thread_service_pb2.ListThreadsRequest(), timeout=10).threads:
        print(f"{thread.name}  {thread.display_name}  {thread_pb2.Thread.Role.Name(thread.role)}")
    count = threads.GetActiveCount(thread_service_pb2.GetActiveCountRequest(), timeout=10)
    print(f"active threads: {count.active_count}")
