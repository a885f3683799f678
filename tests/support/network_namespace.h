// A network namespace for one test: the calling thread lives in it until the object goes, then it is gone with all in
// it.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace shunt::test {

class NetworkNamespace {
  public:
    NetworkNamespace() : previous_(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)) {
        EXPECT_EQ(::unshare(CLONE_NEWNET), 0) << "a network namespace of one's own needs root";
        run("ip link set lo up");
    }
    NetworkNamespace(const NetworkNamespace&) = delete;
    NetworkNamespace& operator=(const NetworkNamespace&) = delete;
    ~NetworkNamespace() {
        ::setns(previous_, CLONE_NEWNET);
        ::close(previous_);
    }

    // A shell command inside; the test fails when it does.
    static void run(const std::string& command) { EXPECT_EQ(std::system(command.c_str()), 0) << command; }

  private:
    int previous_;
};

}  // namespace shunt::test
