from slipway.service.fargate import FARGATE_MEMORY_MIB


def test_the_sizes_match_awss_documentation() -> None:
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html, in GB from 512 units on
    documented = {
        512: range(1, 5),
        1024: range(2, 9),
        2048: range(4, 17),
        4096: range(8, 31),
        8192: range(16, 61, 4),
        16384: range(32, 121, 8),
    }
    sizes = {cpu: tuple(gb * 1024 for gb in memory) for cpu, memory in documented.items()}
    assert {256: (512, 1024, 2048), **sizes} == FARGATE_MEMORY_MIB
