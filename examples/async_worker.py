"""Workers on asyncio, in one VM, with a trace and a log."""

import asyncio

import ukernel


async def worker(number, queue, results):
    while True:
        job = await queue.get()
        await asyncio.sleep(0.01 * job)
        results.append((number, job))
        queue.task_done()


async def main():
    queue, results = asyncio.Queue(), []
    with ukernel.span("pipeline"):
        workers = [asyncio.create_task(worker(number, queue, results)) for number in range(3)]
        for job in range(9):
            queue.put_nowait(job)
        await queue.join()
        for task in workers:
            task.cancel()
    ukernel.log.info(f"{len(results)} jobs done")
    print(sorted(job for _, job in results))


asyncio.run(main())
