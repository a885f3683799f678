"""A laboratory of network namespaces: a client, a balancer and three backends on one switch.

        client ──┐
                 ├── switch (a bridge) ──── balancer     one cable: clients and backends both live behind lan0
      b1 b2 b3 ──┘

The laboratory works without Shunt, too: then the balancer is a plain router, and every instrument of the laboratory
can be tried against the backends directly.

    namespace.py   network namespaces and the cables between them
    process.py     a process in a namespace: log, readiness, end
    network.py     the topology above: addresses, routes, counters
    laboratory.py  a laboratory: the network, its backends, and the clean-up that always happens
    config.py      Shunt's configuration as a dictionary and as TOML
    api.py         the control plane's API over its socket
    shunt.py       Shunt's three programs, run inside the laboratory
    modes.py       a service for every mode, and what its backends need
    narrow.py      routers on the way that take less than the cables
    nginx.py       a real web server that answers with its name
    echo.py        program: answers numbered messages over TCP and UDP with its name
    live.py        program: many live connections that count what breaks
    opener.py      program: many short HTTP connections that count who answered
    wrk.py         wrk, and what it says of socket errors
    frames.py      frames made by hand, and captures
    track_file.py  a track file, seen as keepalived sees it
    waiting.py     the ways to wait
    demo.py        what scripts/demo shows
    outages.py     how long datagrams went unanswered
    experiment.py  what an experiment is: faults under load, a verifier, promises
    restarts.py    experiments with one balancer
    keepalived.py  stock keepalived with the sample configurations
    pair.py        two balancers that share VIPs, and experiments with them
    routing.py     stock BIRD and FRR with the sample configurations
    ecmp.py        three balancers as equals behind a router, and experiments with them
    node.py        a balancer of either that may lose its power
    resilience.py  what scripts/resilience does

Beside it, without a network: bench.py, what scripts/bench does (docs/performance.md); bench_goals.py, the promises it
judges; bench_guard.py, what the path may cost; huge_pages.py.
"""
