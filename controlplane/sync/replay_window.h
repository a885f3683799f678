// Which sequence numbers of a sender came already: each is taken once, in any order within a window, as in RFC 4303
// section 3.4.3.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>

namespace shunt::controlplane::sync {

class ReplayWindow {
  public:
    static constexpr std::size_t size = 4096;

    // True: it is new. Numbers begin with 1.
    bool take(std::uint64_t number) noexcept {
        if (number == 0 || number + size <= highest_) return false;
        for (; highest_ < number && number - highest_ <= size;) seen_.reset(++highest_ % size);
        if (number > highest_) {
            seen_.reset();
            highest_ = number;
        }
        if (seen_.test(number % size)) return false;
        seen_.set(number % size);
        ++taken_;
        return true;
    }
    // Datagrams that were sent and have not come; those on their way among them.
    std::uint64_t missing() const noexcept { return highest_ - taken_; }
    std::uint64_t taken() const noexcept { return taken_; }

  private:
    std::bitset<size> seen_{};
    std::uint64_t highest_{};
    std::uint64_t taken_{};
};

}  // namespace shunt::controlplane::sync
