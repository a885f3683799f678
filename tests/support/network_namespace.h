// A network namespace for one test: the calling thread lives in the newest one until that goes, then again in the one
// before. It has no name, and is gone with all in it when the object is.
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
    NetworkNamespace() : previous_(current()) {
        EXPECT_EQ(::unshare(CLONE_NEWNET), 0) << "a network namespace of one's own needs root";
        own_ = current();
        run("ip link set lo up");
    }
    NetworkNamespace(const NetworkNamespace&) = delete;
    NetworkNamespace& operator=(const NetworkNamespace&) = delete;
    ~NetworkNamespace() {
        ::setns(previous_, CLONE_NEWNET);
        ::close(previous_);
        ::close(own_);
    }

    // A shell command in the newest namespace; the test fails when it does.
    static void run(const std::string& command) { EXPECT_EQ(std::system(command.c_str()), 0) << command; }

    // A command, without quotes, in this one.
    void run_inside(const std::string& command) const { run("nsenter --net=" + path() + " sh -c '" + command + "'"); }

    // Moves the calling thread: several namespaces nest like scopes, and a test may go to and fro between them.
    void enter() const { EXPECT_EQ(::setns(own_, CLONE_NEWNET), 0); }

    // For `ip link … netns`.
    std::string path() const { return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(own_); }

  private:
    static int current() { return ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC); }

    int previous_;
    int own_{-1};
};

}  // namespace shunt::test
