# TLS between two ends in memory: one proves who it is, the other checks that at several times.

import binascii
import io
import machine
import ssl

# Elliptic-curve key of this test, and its own certificate of it for the name "tiny", good from 2026 to 2036.
KEY = binascii.a2b_base64(
    """
MHcCAQEEIOsdhnvNd98Y2zjFzsxNfBMoFO6STxsXvrx+l9qprQROoAoGCCqGSM49AwEHoUQDQgAEH14kaTKGGWWwNf311fzY1B0w
7+e38YOsUiUiE6WbBCPU+Vu0bfWLjWqPA4lK4cqr7TUpF4/d0be9vi70HaGoWQ==
"""
)
CERTIFICATE = binascii.a2b_base64(
    """
MIIBcjCCARmgAwIBAgIUbJCpenKNg2MiGcIZYfrfx75Kfk0wCgYIKoZIzj0EAwIwDzENMAsGA1UEAwwEdGlueTAeFw0yNjExMjAx
NzAzMTlaFw0zNjExMTcxNzAzMTlaMA8xDTALBgNVBAMMBHRpbnkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQfXiRpMoYZZbA1
/fXV/NjUHTDv57fxg6xSJSITpZsEI9T5W7Rt9YuNao8DiUrhyqvtNSkXj93Rt72+LvQdoahZo1MwUTAdBgNVHQ4EFgQUv3BsbKek
rktA0uTZ9xwTb79JUtswHwYDVR0jBBgwFoAUv3BsbKekrktA0uTZ9xwTb79JUtswDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQD
AgNHADBEAiANgALi1RZMW4HqN1adLANNPJv/GrApEoaVyieTIMdhbAIgPhP8kSW5EgYuEsJG7KLzQAuVC7iHBnGzvYFj/qwa9q0=
"""
)


class End(io.IOBase):
    def __init__(self):
        self.waiting = bytearray()

    # Nothing there yet is None.
    def readinto(self, buffer):
        count = min(len(buffer), len(self.waiting))
        buffer[:count] = self.waiting[:count]
        self.waiting = self.waiting[count:]
        return count or None

    def write(self, data):
        self.other.waiting.extend(data)
        return len(data)

    def ioctl(self, request, argument):
        return 0


def pipe():
    a, b = End(), End()
    a.other, b.other = b, a
    return a, b


# What the client says of a server with this name, and the server of what the client says.
def talk(name, trusted=CERTIFICATE):
    near, far = pipe()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(CERTIFICATE, KEY)
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trusted:
        client_context.load_verify_locations(cadata=trusted)
    server = server_context.wrap_socket(far, server_side=True, do_handshake_on_connect=False)
    client = client_context.wrap_socket(near, do_handshake_on_connect=False, server_hostname=name)
    heard = None
    while heard is None:
        client.write(b"hello")
        heard = server.read(5)
    server.write(b"welcome")
    return heard, client.read(7), client.cipher()[1]


def attempt(*arguments):
    try:
        print(*talk(*arguments))
    except (OSError, ValueError) as error:
        print(str(error).strip())


clock = machine.RTC()
for year in 2020, 2030, 2040:
    clock.datetime((year, 1, 1, 0, 0, 0, 0, 0))
    attempt("tiny")
clock.datetime((2030, 1, 1, 0, 0, 0, 0, 0))
attempt("other")
attempt("tiny", None)
with open("/certificate", "wb") as file:
    file.write(CERTIFICATE)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.load_verify_locations("/certificate")
print(context.verify_mode == ssl.CERT_REQUIRED, "ECDHE" in context.get_ciphers()[0])
