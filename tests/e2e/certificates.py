"""Certificates for the end-to-end tests, made by the `openssl` command in a folder of their own."""
import os
import subprocess
import tempfile

ADDRESSES = "IP:127.0.0.1,IP:::1,DNS:localhost"


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)


class Certificate:
    """Paths of a certificate and its key."""

    def __init__(self, cert, key):
        self.cert, self.key = cert, key

    def pem(self):
        """What the two files hold."""
        return read(self.cert), read(self.key)


class Authority:
    """A certificate authority. `close` removes its folder, with all that it has issued."""

    def __init__(self, name="test authority"):
        self._folder = tempfile.TemporaryDirectory()
        self._issued = 0
        self.folder = self._folder.name
        self.cert, self._key = self.path("ca.pem"), self.path("ca.key")
        openssl("req", "-x509", *self._new_key(self._key), "-subj", f"/CN={name}", "-days", "2", "-out", self.cert)

    def close(self):
        self._folder.cleanup()

    def path(self, name):
        return os.path.join(self.folder, name)

    def server(self, name="server", days=2):
        """For 127.0.0.1, ::1 and localhost."""
        return self._issue(name, f"subjectAltName={ADDRESSES}\nextendedKeyUsage=serverAuth", days)

    def client(self, name="client"):
        return self._issue(name, "extendedKeyUsage=clientAuth")

    def expired(self, name="expired"):
        """A server's or client's that ended a day ago."""
        return self._issue(name, f"subjectAltName={ADDRESSES}", days=-1)

    def protected(self, name="protected"):
        """A server's, whose key is protected by a password."""
        certificate = self.server(name)
        protected = certificate.key + ".protected"
        openssl("pkey", "-in", certificate.key, "-aes128", "-passout", "pass:secret", "-out", protected)
        return Certificate(certificate.cert, protected)

    @staticmethod
    def _new_key(path):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path]

    def _issue(self, name, extensions, days=2):
        self._issued += 1
        base = self.path(str(self._issued))
        with open(base + ".ext", "w", encoding="ascii") as file:
            file.write(extensions + "\n")
        openssl("req", "-new", *self._new_key(base + ".key"), "-subj", f"/CN={name}", "-out", base + ".csr")
        openssl("x509", "-req", "-in", base + ".csr", "-CA", self.cert, "-CAkey", self._key, "-days", str(days),
                "-set_serial", str(self._issued), "-extfile", base + ".ext", "-out", base + ".pem")
        return Certificate(base + ".pem", base + ".key")


def read(path):
    with open(path, "rb") as file:
        return file.read()


def replace(path, content):
    """A file's content, all at once."""
    with open(path + ".new", "wb") as file:
        file.write(content)
    os.rename(path + ".new", path)
