"""deploy/prometheus: promtool's verdict, each rule tested and each alert explained, and a real Prometheus in which an
alert fires because of its cause, and stops when the cause is gone."""
import glob
import json
import os
import re
import subprocess
import tempfile
import urllib.error
import urllib.request

import prometheus
import yaml
from jobpool_e2e import PATIENCE, ROOT, E2eTest, eventually, noop_job, sleep_job

PROMTOOL = "/usr/bin/promtool"
DEPLOY = os.path.join(ROOT, "deploy", "prometheus")
RULES = sorted(glob.glob(DEPLOY + "/rules/*.yml"))
TESTS = sorted(glob.glob(DEPLOY + "/tests/*.yml"))
# Not in every scrape: there only with TLS, or with a config file.
CONDITIONAL = {"jobpool_tls_certificate_expiry_timestamp_seconds", "jobpool_config_last_reload_successful"}


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def rules(kind):
    """All rules that are an `alert`, or a `record`, by name."""
    return {rule[kind]: rule for path in RULES for group in yaml.safe_load(read(path))["groups"]
            for rule in group["rules"] if kind in rule}


class Rules(E2eTest):
    def promtool(self, *arguments):
        done = subprocess.run([PROMTOOL, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=PATIENCE, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def test_promtool_is_content(self):
        self.assertTrue(RULES and TESTS)
        self.promtool("check", "rules", *RULES)
        self.promtool("check", "config", DEPLOY + "/prometheus.yml")
        self.promtool("test", "rules", *TESTS)

    def test_the_example_for_tls_is_a_config_too(self):
        with tempfile.TemporaryDirectory() as folder:
            ca = folder + "/ca.pem"
            with open(ca, "w", encoding="ascii"):
                pass
            config = re.sub(r"#tls ", "", read(DEPLOY + "/prometheus.yml"))
            self.assertIn("scheme: https", yaml.safe_load(config) and config)
            config = re.sub(r"ca_file: \S+", f"ca_file: {ca}", config).replace("rules/", DEPLOY + "/rules/")
            path = folder + "/prometheus.yml"
            with open(path, "w", encoding="ascii") as file:
                file.write(config)
            self.promtool("check", "config", path)

    def test_every_rule_is_tested(self):
        fires, quiet, recorded = set(), set(), set()
        for path in TESTS:
            for block in yaml.safe_load(read(path))["tests"]:
                for case in block.get("alert_rule_test", []):
                    (fires if case["exp_alerts"] else quiet).add(case["alertname"])
                recorded |= {case["expr"] for case in block.get("promql_expr_test", []) if case["exp_samples"]}
        self.assertEqual(fires, set(rules("alert")))
        self.assertEqual(quiet, set(rules("alert")))
        self.assertEqual(recorded, set(rules("record")))

    def test_every_alert_has_a_paragraph_where_its_annotation_says(self):
        headings = re.findall(r"^#+ (.+)$", read(ROOT + "/docs/operations.md"), re.M)
        anchors = [heading.lower().replace(" ", "-") for heading in headings]
        for name, rule in rules("alert").items():
            self.assertEqual(anchors.count(name.lower()), 1, name)
            self.assertEqual(rule["annotations"]["runbook_url"], "docs/operations.md#" + name.lower())
            self.assertIn(rule["labels"]["severity"], ("critical", "warning"))
            self.assertIn("for", rule)
            self.assertLessEqual({"summary", "description"}, set(rule["annotations"]))
        explained = {heading for heading in headings if heading.startswith("Jobpool")}
        self.assertEqual(explained, set(rules("alert")))

    def test_rules_and_their_tests_name_only_what_the_server_exposes(self):
        server = self.server()
        exposed = {name for name, _, _ in server.metrics().samples} | CONDITIONAL
        texts = {path: read(path) for path in TESTS}
        texts.update({name: rule["expr"] for kind in ("alert", "record") for name, rule in rules(kind).items()})
        for where, text in texts.items():
            # A recorded series' name has colons, a label's one of these prefixes at most before an operator.
            used = set(re.findall(r"(?<![\w:])((?:jobpool|process|grpc_server)_\w+)(?![\w:])", text))
            self.assertLessEqual(used, exposed | {"jobpool_jobs", "jobpool_calls", "jobpool_alerts"}, where)


class RealPrometheus(E2eTest):
    # So many times shorter is everything that lasts: ranges, `for`, intervals. No other part of an expression changes.
    HASTE = 300

    def faster(self, text):
        def shorter(match):
            milliseconds = int(match[2]) * {"s": 1, "m": 60, "h": 3600}[match[3]] * 1000 // self.HASTE
            return f"{match[1]}{max(milliseconds, 1)}ms"
        return re.sub(r"(\[|for: )(\d+)([smh])\b", shorter, text)

    def prometheus(self, target):
        """Starts it with our config and rules, made faster; its address."""
        config = read(DEPLOY + "/prometheus.yml").replace("127.0.0.1:9464", target)
        config = config.replace("interval: 15s", "interval: 500ms")
        config = config.replace("global:\n", "global:\n  scrape_timeout: 500ms\n")
        rules = {"rules/" + os.path.basename(path): self.faster(read(path)) for path in RULES}
        return prometheus.start(self, {"prometheus.yml": config, **rules})

    def all_rules(self):
        """What Prometheus says of each rule, by name; nothing before it serves."""
        try:
            with self.http.open(f"http://{self.address}/api/v1/rules", timeout=PATIENCE) as answer:
                groups = json.load(answer)["data"]["groups"]
        except OSError:
            return {}
        return {rule["name"]: rule for group in groups for rule in group["rules"]}

    def saturated(self):
        """The pools for which JobpoolPoolSaturated fires. Others may, so fast, on a machine that is busy."""
        alerts = self.all_rules()["JobpoolPoolSaturated"]["alerts"]
        return {alert["labels"]["pool"] for alert in alerts if alert["state"] == "firing"}

    def test_an_alert_fires_for_its_cause_and_stops_with_it(self):
        server, client = self.both()
        self.http = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.address = self.prometheus(server.http)
        eventually(lambda: (states := self.all_rules()) and all(r["health"] == "ok" for r in states.values()),
                   what="all rules are evaluated", poll=0.2)
        self.assertEqual(set(self.all_rules()), set(rules("alert")) | set(rules("record")))
        self.assertEqual(self.saturated(), set())

        width = int(server.metrics().sum("jobpool_pool_max_threads", pool="compute"))
        busy = [client.submit(sleep_job(600, pool="pools/compute")).name for _ in range(width)]
        for name in busy:
            client.running(name)
        waiting = client.submit(noop_job()).name
        client.running(client.submit(sleep_job(600)).name)  # in the other pool, which has room
        eventually(lambda: self.saturated() == {"compute"}, what="the alert fires", poll=0.2)

        client.cancel(waiting)
        eventually(lambda: self.saturated() == set(), what="the alert stops", poll=0.2)
