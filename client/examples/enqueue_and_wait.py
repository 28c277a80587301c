#!/usr/bin/env python3
"""Enqueues a task and waits for its result, with generated stubs alone.

protoc -I proto --python_out=gen --grpc_out=gen --plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin proto/penstock/v1/*.proto
PYTHONPATH=gen ./enqueue_and_wait.py 127.0.0.1:7420 texts text.upper hello
"""
import sys
import uuid

import grpc
from penstock.v1 import task_pb2, task_service_pb2, task_service_pb2_grpc

broker, queue, task_type, payload = sys.argv[1:]
tasks = task_service_pb2_grpc.TaskServiceStub(grpc.insecure_channel(broker))
task = task_pb2.TaskSpec(queue=queue, type=task_type, payload=payload.encode())
enqueued = tasks.Enqueue(task_service_pb2.EnqueueRequest(request_id=str(uuid.uuid4()), task=task), timeout=10)
ended = tasks.WaitTask(task_service_pb2.WaitTaskRequest(task_id=enqueued.result.task_id), timeout=60).task
if ended.state != task_pb2.TASK_STATE_COMPLETED:
    sys.exit(f"task {ended.task_id} ended as {task_pb2.TaskState.Name(ended.state)}")
print(ended.result.decode())
