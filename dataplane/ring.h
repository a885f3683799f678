// A ring with one writer and one reader, in the memory of the process: fixed in size, no locks. When it is full the
// writer is told and keeps what it has.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <optional>

namespace shunt::dataplane {

template <class T, std::size_t size>
class Ring {
  public:
    bool push(const T& item) noexcept {
        const std::size_t head = head_.load(std::memory_order_relaxed);
        if (head - tail_.load(std::memory_order_acquire) == size) return false;
        items_[head % size] = item;
        head_.store(head + 1, std::memory_order_release);
        return true;
    }
    std::optional<T> pop() noexcept {
        const std::size_t tail = tail_.load(std::memory_order_relaxed);
        if (tail == head_.load(std::memory_order_acquire)) return std::nullopt;
        const T item = items_[tail % size];
        tail_.store(tail + 1, std::memory_order_release);
        return item;
    }

  private:
    std::array<T, size> items_{};
    alignas(64) std::atomic<std::size_t> head_{};
    alignas(64) std::atomic<std::size_t> tail_{};
};

}  // namespace shunt::dataplane
