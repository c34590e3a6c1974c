"""A gRPC server as Python programs have it: calls run on a ThreadPoolExecutor. Answers BareService.Call and nothing
else. Prints the port that it serves on; ends when its standard input does."""
import sys
from concurrent import futures

import grpc


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=64))
    call = grpc.unary_unary_rpc_method_handler(lambda request, context: b"")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("jobpool.bench.BareService", {"Call": call}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"127.0.0.1:{port}", flush=True)
    sys.stdin.read()
    server.stop(0)


main()
