"""Each kind of work gives the right result, held against values that were computed elsewhere."""
import subprocess

from jobpool.v1 import job_pb2
from jobpool_e2e import PATIENCE, SharedServerTest, noop_job, sleep_job, spin_job

Job = job_pb2.Job
PI_50 = "3.14159265358979323846264338327950288419716939937510"


def machin(digits):
    """Pi by Machin's formula, in whole numbers."""
    one = 10**(digits + 10)

    def arctan_of_inverse(x):
        power = total = one // x
        n, sign = 1, 1
        while power:
            power //= x * x
            n, sign = n + 2, -sign
            total += sign * (power // n)
        return total
    text = str((4 * (4 * arctan_of_inverse(5) - arctan_of_inverse(239))) // 10**10)
    return f"{text[0]}.{text[1:]}"


class Results(SharedServerTest):
    def compute(self, **work):
        job = self.c.run(Job(compute=work))
        self.assertEqual(job.state, Job.SUCCEEDED, job.error)
        (kind,) = work
        self.assertEqual(job.result.compute.WhichOneof("result"), kind)
        return getattr(job.result.compute, kind)

    def test_primes(self):
        # OEIS A006880 at the powers of ten; around the first primes and a square by hand.
        for limit, count in ((0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (10, 4), (25, 9), (29, 10), (10**3, 168),
                             (65536, 6542), (10**6, 78498), (10**7, 664579)):
            self.assertEqual(self.compute(primes={"limit": limit}).count, count, limit)

    def test_fibonacci(self):
        a, b = 0, 1
        for index in range(5001):
            if index in (0, 1, 2, 3, 46, 47, 48, 92, 93, 94, 95, 100, 1000, 5000):
                self.assertEqual(self.compute(fibonacci={"index": index}).digits, str(a), index)
            a, b = b, a + b
        self.assertEqual(self.compute(fibonacci={"index": 100}).digits, "354224848179261915075")
        self.assertEqual(len(self.compute(fibonacci={"index": 10**6}).digits), 208988)  # 10^6 log10 phi - log10 sqrt 5

    def test_pi(self):
        for digits in (1, 2, 9, 31, 32, 50):  # the 32nd after the point is a 0 after a 5: cut, not rounded
            self.assertEqual(self.compute(pi={"digits": digits}).digits, PI_50[:digits + 2])
        # The Feynman point, six nines from the 762nd, where rounding would carry.
        self.assertTrue(self.compute(pi={"digits": 767}).digits.endswith("999999"))
        self.assertTrue(self.compute(pi={"digits": 764}).digits.endswith("999"))
        long = self.compute(pi={"digits": 200000}).digits
        self.assertEqual((len(long), long[:52]), (200002, PI_50))
        self.assertTrue(self.compute(pi={"digits": 1000}).digits == long[:1002])
        self.assertTrue(long.startswith(machin(3000)))

    def test_hash_is_what_openssl_says(self):
        # As job.proto documents it.
        command = ('head -c "$1" /dev/zero | openssl enc -aes-256-ctr -K "$(printf %064x "$2")" '
                   '-iv "$(printf %032x 0)" | openssl dgst -sha256')
        for size in (0, 1, 15, 16, 17, 65535, 65536, 65537, 10**6, 5_000_001):
            for seed in (0, 1, 255, 2**32, 2**63 - 1):
                with self.subTest(size=size, seed=seed):
                    done = subprocess.run(["bash", "-c", command, "bash", str(size), str(seed)], check=True,
                                          capture_output=True, text=True, timeout=PATIENCE)
                    self.assertEqual(self.compute(hash={"bytes": size, "seed": seed}).sha256, done.stdout.split()[-1])
        self.assertNotEqual(self.compute(hash={"bytes": 1, "seed": 2**64 - 1}).sha256,
                            self.compute(hash={"bytes": 1, "seed": 2**63 - 1}).sha256)

    def test_spin_burns_what_was_asked_for(self):
        for asked in (0, 0.001, 0.3):
            job = self.c.run(spin_job(asked))
            burnt = job.result.compute.spin.cpu_time.ToNanoseconds()
            usage = job.attempts[0].usage
            self.assertGreaterEqual(burnt, asked * 1e9)
            used = usage.user_cpu_time.ToNanoseconds() + usage.system_cpu_time.ToNanoseconds()
            self.assertGreaterEqual(used, asked * 1e9 * 0.9)  # the kernel's other count, which is coarser

    def test_sleep_never_ends_early(self):
        for asked in (0, 0.000001, 0.01, 0.25):
            job = self.c.run(sleep_job(asked))
            self.assertGreaterEqual(job.result.sleep.slept.ToNanoseconds(), asked * 1e9)

    def test_noop_gives_every_byte_back(self):
        for payload in (b"", b"\0", bytes(range(256)), b"\xff" * 1000, bytes(range(256)) * 4096):
            job = self.c.run(noop_job(payload))
            self.assertTrue(job.result.HasField("noop"))
            self.assertTrue(job.result.noop.payload == payload)  # assertEqual would print a MiB

    def test_work_that_reports_progress_ends_at_1(self):
        for job in (sleep_job(0.01), spin_job(0.01), Job(compute={"hash": {"bytes": 1000}}),
                    Job(compute={"pi": {"digits": 10}}), Job(compute={"fibonacci": {"index": 10}})):
            self.assertEqual(self.c.run(job).progress.ratio, 1, job)
