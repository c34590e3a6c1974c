"""ListJobs by filter and order, as a stranger to the server's code would ask."""
import grpc
from google.protobuf import timestamp_pb2
from jobpool.v1 import job_pb2, job_service_pb2 as js
from jobpool_e2e import SharedServerTest, noop_job, sleep_job, unix_time

Job = job_pb2.Job


class Lists(SharedServerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.c.run(noop_job(display_name="nightly-1", labels={"team": "a"}, priority=7))
        cls.c.run(noop_job(display_name="nightly-2", labels={"team": "b", "env": ""}, priority=1))
        cls.c.run(noop_job(daemon=True))
        cls.c.running(cls.c.submit(sleep_job(3600, labels={"team": "a"})).name)
        cancelled = cls.c.submit(sleep_job(3600, display_name='a "quoted" name')).name
        cls.c.cancel(cancelled)
        cls.c.join(cancelled)
        cls.everything = list(cls.c.jobs.ListJobs(js.ListJobsRequest()).jobs)

    def list(self, filter="", order_by="", page_size=2):
        jobs, token = [], ""
        while True:
            page = self.c.jobs.ListJobs(js.ListJobsRequest(
                filter=filter, order_by=order_by, page_size=page_size, page_token=token))
            self.assertLessEqual(len(page.jobs), page_size)
            jobs += page.jobs
            token = page.next_page_token
            if not token:
                return jobs

    def test_filters(self):
        begin = timestamp_pb2.Timestamp()
        begin.CopyFrom(self.everything[-1].create_time)
        for filter, expected in {
                "": lambda j: True,
                "state = RUNNING": lambda j: j.state == Job.RUNNING,
                "state != RUNNING": lambda j: j.state != Job.RUNNING,
                "kind = noop": lambda j: j.HasField("noop"),
                "pool = pools/blocking": lambda j: j.pool == "pools/blocking",
                "pool = blocking": lambda j: j.pool == "pools/blocking",
                "priority > 4": lambda j: j.priority > 4,
                "daemon = true": lambda j: j.daemon,
                'labels.team = "a"': lambda j: j.labels.get("team") == "a",
                "labels.team != a": lambda j: j.labels.get("team") != "a",
                "labels:env": lambda j: "env" in j.labels,
                "labels.env:*": lambda j: "env" in j.labels,
                'display_name = "nightly*"': lambda j: j.display_name.startswith("nightly"),
                'display_name = "a \\"quoted\\" name"': lambda j: j.display_name == 'a "quoted" name',
                "display_name = Job-*": lambda j: j.display_name.startswith("Job-"),
                "display_name:quoted": lambda j: "quoted" in j.display_name,
                "end_time:*": lambda j: j.HasField("end_time"),
                "NOT end_time:*": lambda j: not j.HasField("end_time"),
                "retry_of:*": lambda j: j.retry_of,
                f"create_time > {begin.ToJsonString()}": lambda j: unix_time(j.create_time) > unix_time(begin),
                f'create_time = "{begin.ToJsonString()}"': lambda j: j.create_time == begin,
                "state = SUCCEEDED labels:team": lambda j: j.state == Job.SUCCEEDED and "team" in j.labels,
                # OR binds tighter than AND.
                "state = SUCCEEDED AND labels.team = a OR labels.team = b":
                    lambda j: j.state == Job.SUCCEEDED and j.labels.get("team") in ("a", "b"),
                "(state = RUNNING OR state = CANCELLED) -labels:team":
                    lambda j: j.state in (Job.RUNNING, Job.CANCELLED) and "team" not in j.labels,
        }.items():
            with self.subTest(filter):
                self.assertEqual([j.name for j in self.list(filter)],
                                 [j.name for j in self.everything if expected(j)])

    def test_orders(self):
        newest_first = self.everything
        for order_by, key, reverse in (
                ("create_time", lambda j: unix_time(j.create_time), False),
                ("create_time desc", lambda j: unix_time(j.create_time), True),
                ("priority", lambda j: j.priority, False),
                ("pool desc", lambda j: j.pool, True),
                ("pool desc, priority desc", lambda j: (j.pool, j.priority), True)):
            with self.subTest(order_by):
                # Sorting is stable, also when it is reversed.
                self.assertEqual([j.name for j in self.list(order_by=order_by)],
                                 [j.name for j in sorted(newest_first, key=key, reverse=reverse)])
        ended = [j for j in newest_first if j.HasField("end_time")]
        self.assertEqual([j.name for j in self.list(order_by="end_time desc")],
                         [j.name for j in sorted(ended, key=lambda j: unix_time(j.end_time), reverse=True)])
        self.assertEqual(self.list(order_by="deadline_time"), [])

    def test_what_is_refused(self):
        for fields, violations in (
                ({"filter": "colour = red"}, ["filter"]),
                ({"filter": "state = ACTIVE"}, ["filter"]),
                ({"filter": "daemon = true " * 65}, ["filter"]),
                ({"filter": f"display_name = {'x' * 2000}"}, ["filter"]),
                ({"filter": "(" * 33 + "daemon = true" + ")" * 33}, ["filter"]),
                ({"order_by": "display_name"}, ["order_by"]),
                ({"order_by": "priority, end_time"}, ["order_by"]),
                ({"order_by": "priority, priority"}, ["order_by"]),
                ({"filter": "state", "order_by": "x", "page_size": -1}, ["page_size", "filter", "order_by"])):
            with self.subTest(fields):
                error = self.fails(grpc.StatusCode.INVALID_ARGUMENT, self.c.jobs.ListJobs, js.ListJobsRequest(**fields))
                self.assertEqual(error.fields, violations)

    def test_a_token_is_for_its_list(self):
        request = js.ListJobsRequest(filter="daemon = false", order_by="priority", page_size=1)
        request.page_token = self.c.jobs.ListJobs(request).next_page_token
        self.c.jobs.ListJobs(request)
        for field, value in (("filter", ""), ("order_by", "priority desc")):
            changed = js.ListJobsRequest()
            changed.CopyFrom(request)
            setattr(changed, field, value)
            error = self.fails(grpc.StatusCode.INVALID_ARGUMENT, self.c.jobs.ListJobs, changed)
            self.assertEqual(error.fields, ["page_token"])


class Changes(SharedServerTest):
    def test_what_changes_is_found_anew(self):
        def names(filter):
            return [job.name for job in self.c.jobs.ListJobs(js.ListJobsRequest(filter=filter)).jobs]

        name = self.c.submit(sleep_job(3600, labels={"team": "a"})).name
        self.c.running(name)
        self.assertEqual(names("state = RUNNING AND labels.team = a"), [name])
        self.c.jobs.UpdateJob(js.UpdateJobRequest(job={"name": name, "display_name": "x", "labels": {"team": "b"}}))
        self.assertEqual(names("display_name = x"), [name])
        self.assertEqual(names("labels.team = b"), [name])
        self.assertEqual(names("labels.team = a"), [])
        self.c.cancel(name)
        self.c.join(name)
        self.assertEqual(names("state = CANCELLED AND labels.team = b"), [name])
        self.assertEqual(names("state = RUNNING"), [])
        self.c.jobs.DeleteJob(js.DeleteJobRequest(name=name))
        self.assertEqual(names("labels:team"), [])
