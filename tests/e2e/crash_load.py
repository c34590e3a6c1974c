"""Callers of a server that is killed: each does this and that to jobs of its own, and remembers what it was told."""
import threading
import time
import uuid

import grpc
from google.protobuf import timestamp_pb2
from jobpool.v1 import job_pb2, job_service_pb2 as js
from jobpool_e2e import ENDED, PATIENCE, Error, noop_job, seconds, sleep_job

Job = job_pb2.Job
CODE = grpc.StatusCode
HOUR = 3600
# What changes while a job lives; the rest is what it was asked to be.
OUTPUT = ("state", "alive", "progress", "result", "error", "attempts", "start_time", "end_time", "expire_time", "etag",
          "ready_time")
MAX_JOBS = 250  # ended ones of one caller; beyond them it deletes more
MAX_LONG = 6  # jobs of one caller that only a cancellation ends


def encoded(message):
    return message.SerializeToString(deterministic=True)


def fixed(job):
    """The part of a job that only UpdateJob changes."""
    kept = Job()
    kept.CopyFrom(job)
    for field in OUTPUT:
        kept.ClearField(field)
    return kept


def at(ahead):
    nanos = time.time_ns() + int(ahead * 1e9)
    return timestamp_pb2.Timestamp(seconds=nanos // 10**9, nanos=nanos % 10**9)


def tag_of(job):
    """By which a submission is known whose answer, and so the job's name, was lost."""
    return job.labels["tag"] if "tag" in job.labels else job.display_name.partition(".")[0]


class Refused(Exception):
    """An answer that is none of those that the call may have."""


class Lost(Exception):
    """No answer: the server was killed."""


class Known:
    """A job that a caller was told of."""

    def __init__(self, job, request, generation):
        self.name = job.name
        self.request = request
        self.generation = generation
        self.kept = job.durability == Job.DISK
        self.is_line = job.pool == "pools/line"
        self.is_long = job.sleep.duration.seconds >= HOUR or job.schedule_time.seconds > time.time() + HOUR / 2
        self.may_be = [encoded(fixed(job))]  # several while the answer to an update is lost
        self.end = None  # all of it, as it was told
        self.may_be_deleted = False
        self.deleted = False
        self.asked_to_end = False
        self.number = int(job.display_name[4:]) if job.display_name.startswith("Job-") else None
        self.priority = job.priority if job.HasField("priority") else None


class History:
    """What all callers share. Thread-safe."""

    def __init__(self):
        self._mu = threading.Lock()
        self.generation = 0
        self.faults = []
        self.numbers = {}  # of kept jobs: their names
        self.memory_numbers = set()
        self.repeated_memory_numbers = 0
        self.starts = {}  # by process: (start, priority, number, generation that made the job, name) in pool `line`
        self.acknowledged = self.ends = self.lost = self.resent = self.updates = self.deletes = 0
        self.forgotten_cancels = 0  # that a running job was asked to end is not kept

    def fault(self, text):
        with self._mu:
            self.faults.append(f"generation {self.generation}: {text}")

    def count(self, what, number=1):
        with self._mu:
            setattr(self, what, getattr(self, what) + number)

    def acknowledge(self, known):
        with self._mu:
            self.acknowledged += 1
            if known.number is None:
                return
            other = self.numbers.get(known.number)
            if known.kept:
                if other is not None:
                    self.faults.append(f"{known.name} is Job-{known.number}, as {other}")
                self.numbers[known.number] = known.name
            if known.number in self.memory_numbers or not known.kept and other is not None:
                self.repeated_memory_numbers += 1
            if not known.kept:
                self.memory_numbers.add(known.number)

    def add_starts(self, known, job):
        with self._mu:
            for attempt in job.attempts:
                start = attempt.start_time.seconds * 10**9 + attempt.start_time.nanos
                self.starts.setdefault(attempt.process_id, []).append(
                    (start, known.priority, known.number, known.generation, known.name))


class Caller:
    """Uses one server after the other; `work` is run by a thread of its own, the rest while there is none."""

    def __init__(self, index, rng, history):
        self.index = index
        self.rng = rng
        self.history = history
        self.jobs = {}  # by name: Known
        self.lost = []  # requests of submissions whose answers were lost, each a list
        self.tags = 0
        self.lines = 0
        self.actions = [(self.submit, 30), (self.batch, 6), (self.run, 20), (self.line, 12), (self.cancel, 10),
                        (self.update, 12), (self.look, 8), (self.wait, 5), (self.delete, 6), (self.resend, 5)]

    # What it does while the server lives.

    def work(self, client):
        self.lines = 0
        self.client = client
        try:
            while True:
                actions = [action for action, _ in self.actions]
                if len(self.jobs) > MAX_JOBS:
                    actions += [self.delete]
                self.rng.choices(actions, [w for _, w in self.actions] + [250] * (len(actions) - len(self.actions)))[0]()
        except Lost:
            pass
        except Exception as error:  # pylint: disable=broad-except
            self.history.fault(f"caller {self.index}: {type(error).__name__}: {error}")

    def call(self, method, request, allowed=()):
        """The answer; None: the error is one of `allowed`. Lost: there was none."""
        try:
            return getattr(self.client.jobs, method)(request, timeout=PATIENCE)
        except grpc.RpcError as error:
            if error.code() in allowed:
                return None
            if "ErrorInfo" not in Error(error).details and error.code() in (
                    CODE.UNAVAILABLE, CODE.UNKNOWN, CODE.INTERNAL, CODE.CANCELLED):
                self.history.count("lost")
                raise Lost from error
            raise Refused(f"{method}({request}): {error.code()} {error.details()}") from error

    def request(self, job):
        """Asks for it: with a tag, and perhaps with this and that."""
        rng = self.rng
        self.tags += 1
        tag = f"tag-{self.index}-{self.tags}"
        request = js.SubmitJobRequest(job=job)
        if job.pool == "pools/line" or rng.random() < 0.3:
            request.job.labels["tag"] = tag
            for i in range(rng.randrange(3)):
                request.job.labels[f"more-{i}"] = f"value {rng.random()} \u00e9"
        else:
            request.job.display_name = tag
        if rng.random() < 0.5:
            request.request_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        if rng.random() < 0.1:
            request.job_id = f"own-{self.index}-{self.tags}"
        if job.pool != "pools/line":
            if rng.random() < 0.2:
                request.job.priority = rng.randrange(10)
            if rng.random() < 0.1:
                request.job.deadline_time.CopyFrom(at(HOUR))
            if rng.random() < 0.1:
                request.job.retention.CopyFrom(seconds(2 * HOUR))
        return request

    def payload(self):
        return self.rng.randbytes(self.rng.choice((0, 1, 100, 2000, 5000, 20000)))

    def some_job(self, short=False):
        rng = self.rng
        kind = rng.choices(("noop", "sleep", "retry", "memory", "long", "scheduled", "far"),
                           (40, 25, 0 if short else 8, 12, 0 if short else 4, 0 if short else 10, 0 if short else 4))[0]
        if kind in ("long", "far") and sum(k.is_long and k.end is None for k in self.jobs.values()) >= MAX_LONG:
            kind = "noop"
        if kind == "sleep":
            return sleep_job(rng.random() * 0.03)
        if kind == "retry":
            return sleep_job(HOUR // 2, timeout=seconds(0.01 + rng.random() * 0.02), retry_policy={
                "max_attempts": 3, "initial_backoff": seconds(0.01), "max_backoff": seconds(0.1), "multiplier": 2,
                "jitter": 0.5})
        if kind == "memory":
            return noop_job(self.payload(), durability=Job.MEMORY)
        if kind == "long":
            return sleep_job(HOUR, daemon=rng.random() < 0.3)
        if kind == "scheduled":
            return noop_job(self.payload(), schedule_time=at(0.05 + rng.random()))
        if kind == "far":
            return noop_job(self.payload(), schedule_time=at(0.9 * HOUR))
        return noop_job(self.payload())

    def submit(self):
        self._submit([self.request(self.some_job())])

    def line(self):
        """Of the pool with one thread, where the order of starts can be seen."""
        if self.lines < 15:
            self.lines += 1
            self._submit([self.request(sleep_job(0.015, pool="pools/line", priority=self.rng.randrange(3, 6)))])

    def batch(self):
        self._submit([self.request(self.some_job()) for _ in range(self.rng.randrange(2, 20))], as_batch=True)

    def _submit(self, requests, as_batch=False):
        try:
            if as_batch:
                jobs = self.call("BatchSubmitJobs", js.BatchSubmitJobsRequest(requests=requests)).jobs
            else:
                jobs = [self.call("SubmitJob", requests[0])]
        except Lost:
            self.lost.append(requests)
            raise
        for request, job in zip(requests, jobs, strict=True):
            self.told(request, job)

    def run(self):
        request = self.request(self.some_job(short=True))
        try:
            job = self.call("RunJob", js.RunJobRequest(job=request.job, job_id=request.job_id,
                                                       request_id=request.request_id, detach=self.rng.random() < 0.5))
        except Lost:
            self.lost.append([request])
            raise
        if job.state not in ENDED:
            self.history.fault(f"RunJob answers {job}")
        self.told(request, job)

    def told(self, request, job):
        """The server has acknowledged `request` with `job`."""
        for field, asked in request.job.ListFields():
            given = getattr(job, field.name)
            if field.name == "labels":
                given, asked = dict(given), dict(asked)
            if given != asked:
                self.history.fault(f"{job.name} was asked for with {field.name} {asked}, and has {given}")
        known = self.jobs[job.name] = Known(job, request, self.history.generation)
        self.history.acknowledge(known)
        self.saw(known, job)
        return known

    def saw(self, known, job):
        """Holds what is told of a job against what was told before."""
        is_as = encoded(fixed(job))
        if is_as not in known.may_be:
            self.history.fault(f"{known.name} was\n{Job.FromString(known.may_be[-1])}\nand is\n{job}")
        if known.deleted:
            self.history.fault(f"{known.name} was deleted, and is\n{job}")
        if known.end is not None:
            if encoded(job) != known.end:
                self.history.fault(f"{known.name} has ended as\n{Job.FromString(known.end)}\nand is\n{job}")
        elif job.state in ENDED:
            known.end = encoded(job)
            self.history.count("ends")
            self.check_end(known, job)

    def check_end(self, known, job):
        counted = [a for a in job.attempts if "INTERRUPTED" not in str(a.error)]
        if job.state == Job.SUCCEEDED:
            if job.noop.payload != job.result.noop.payload or len(counted) != 1:
                self.history.fault(f"{job.name} has ended as\n{job}")
        elif job.state == Job.FAILED and (job.retry_policy.max_attempts == 0 or len(counted) != 3):
            self.history.fault(f"{job.name} has failed as\n{job}")
        if known.is_line and known.kept:
            self.history.add_starts(known, job)

    def pick(self, condition):
        found = [known for known in self.rng.sample(list(self.jobs.values()), min(len(self.jobs), 30))
                 if not known.deleted and condition(known)]
        return self.rng.choice(found) if found else None

    def cancel(self):
        if (known := self.pick(lambda k: k.end is None and (k.is_long or self.rng.random() < 0.3))) is not None:
            job = self.call("CancelJob", js.CancelJobRequest(name=known.name), (CODE.FAILED_PRECONDITION,))
            if job is not None:
                known.asked_to_end = True
                self.saw(known, job)

    def look(self):
        if (known := self.pick(lambda k: True)) is not None:
            self.saw(known, self.call("GetJob", js.GetJobRequest(name=known.name)))

    def wait(self):
        some = {k.name: k for k in (self.pick(lambda k: k.end is None) for _ in range(5)) if k is not None}
        if some:
            answer = self.call("WaitJobs", js.WaitJobsRequest(names=some, timeout=seconds(self.rng.random() * 0.05),
                                                              mode=self.rng.randrange(3)))
            for job in answer.jobs:
                self.saw(some[job.name], job)

    def update(self):
        known = self.pick(lambda k: k.end is None and not k.is_line)
        if known is None:
            return
        job = Job(name=known.name)
        change = self.rng.randrange(4)
        was = Job.FromString(known.may_be[0])
        if change == 0:
            job.labels["version"] = str(self.rng.random())
            if "tag" in was.labels:
                job.labels["tag"] = was.labels["tag"]
        elif change == 1 and "tag" not in was.labels:
            job.display_name = f"{tag_of(was)}.{self.rng.random()}"
        elif change == 2:
            job.priority = self.rng.randrange(10)
        else:
            far = self.rng.random() < 0.3
            job.schedule_time.CopyFrom(at(0.9 * HOUR if far else 0.1))
            known.is_long = known.is_long or far
        will_be = Job.FromString(known.may_be[0])
        for field, value in job.ListFields():
            will_be.ClearField(field.name)
        will_be.MergeFrom(job)
        try:
            answer = self.call("UpdateJob", js.UpdateJobRequest(job=job), (CODE.FAILED_PRECONDITION,))
        except Lost:
            known.may_be.append(encoded(will_be))
            raise
        if answer is not None:
            known.may_be = [encoded(will_be)]
            self.history.count("updates")
            self.saw(known, answer)

    def delete(self):
        if (known := self.pick(lambda k: k.end is not None)) is None:
            return
        try:
            self.call("DeleteJob", js.DeleteJobRequest(name=known.name))
        except Lost:
            known.may_be_deleted = True
            raise
        known.deleted = True
        self.history.count("deletes")

    def resend(self):
        if (known := self.pick(lambda k: k.request.request_id != "")) is not None:
            self.history.count("resent")
            job = self.call("SubmitJob", known.request)
            if job.name != known.name:
                self.history.fault(f"the request of {known.name} is answered with {job.name}")
            else:
                self.saw(known, job)

    # What it does with the next server, before it works again.

    def check(self, client, listed):
        """All that it knows is there; what it does not know it learns. `listed`: by tag, the jobs that are there."""
        self.client = client
        for name in [name for name, known in self.jobs.items() if not known.kept]:
            self.forget_memory(name)
        lost, self.lost = self.lost, []
        for requests in lost:
            self.find_lost(requests, listed)
        for known in list(self.jobs.values()):
            if known.may_be_deleted:
                known.may_be_deleted = False
                known.deleted = self.call("GetJob", js.GetJobRequest(name=known.name), (CODE.NOT_FOUND,)) is None
        there = [known for known in self.jobs.values() if not known.deleted]
        for first in range(0, len(there), 300):
            self.look_at(there[first:first + 300])
        for known in [known for known in self.jobs.values() if known.deleted]:
            self.stays_deleted(known)
        for known in self.rng.sample(there, min(len(there), 10)):
            if known.request.request_id:
                self.same_answer([known.request], [known.name])

    def forget_memory(self, name):
        if self.call("GetJob", js.GetJobRequest(name=name), (CODE.NOT_FOUND,)) is not None:
            self.history.fault(f"{name} was to go with its server")
        del self.jobs[name]

    def find_lost(self, requests, listed):
        """Whether they were accepted: all of them or none, and each once."""
        kept = [r for r in requests if r.job.durability != Job.MEMORY]
        there = [listed.get(tag_of(r.job), []) for r in kept]
        if any(len(jobs) > 1 for jobs in there) or len({len(jobs) for jobs in there}) > 1:
            self.history.fault(f"of a lost submission of {len(kept)} there are {[len(jobs) for jobs in there]}")
            return
        names = [jobs[0].name for jobs in there if jobs]
        if requests[0].request_id and len(requests) == 1 and kept:
            names = self.same_answer(requests, names)
        for request, name in zip(kept, names):
            job = self.call("GetJob", js.GetJobRequest(name=name))
            self.told(request, job)

    def same_answer(self, requests, names):
        """Sent twice, they are answered with the same job, the one in `names` if there is one."""
        self.history.count("resent")
        for request in requests:
            for _ in range(2):
                job = self.call("SubmitJob", request)
                names = names or [job.name]
                if job.name != names[0]:
                    self.history.fault(f"the request of {names[0]} is answered with {job.name}")
        return names

    def look_at(self, some):
        answer = self.call("WaitJobs", js.WaitJobsRequest(names=[k.name for k in some], timeout=seconds(0)),
                           (CODE.NOT_FOUND,))
        if answer is None:
            for known in some:
                job = self.call("GetJob", js.GetJobRequest(name=known.name), (CODE.NOT_FOUND,))
                if job is None:
                    self.history.fault(f"{known.name} of generation {known.generation} is gone"
                                       f"{', its end was told' if known.end else ''}")
                    del self.jobs[known.name]
            return
        for known, job in zip(some, answer.jobs, strict=True):
            now = encoded(fixed(job))
            if now in known.may_be:
                known.may_be = [now]
            if known.asked_to_end and job.state not in ENDED:
                self.history.count("forgotten_cancels")
                known.asked_to_end = False
            self.saw(known, job)

    def stays_deleted(self, known):
        """And then it may be forgotten, but its request is not answered with another."""
        if self.call("GetJob", js.GetJobRequest(name=known.name), (CODE.NOT_FOUND,)) is not None:
            self.history.fault(f"{known.name} was deleted, and is there")
        if known.request.request_id and self.call("SubmitJob", known.request, (CODE.NOT_FOUND,)) is not None:
            self.history.fault(f"the request of {known.name}, which was deleted, makes another job")
        del self.jobs[known.name]

    def end_all(self, client):
        """Whatever it was told of ends."""
        self.client = client
        for known in self.jobs.values():
            if known.end is None and not known.deleted and known.is_long:
                self.call("CancelJob", js.CancelJobRequest(name=known.name), (CODE.FAILED_PRECONDITION,))
        live = [known for known in self.jobs.values() if known.end is None and not known.deleted]
        if not live:
            return
        answer = self.call("WaitJobs", js.WaitJobsRequest(names=[k.name for k in live], timeout=seconds(PATIENCE / 2)))
        for known, job in zip(live, answer.jobs, strict=True):
            self.saw(known, job)
            if known.end is None:
                self.history.fault(f"{known.name} does not end:\n{job}")
