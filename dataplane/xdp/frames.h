// Packet memory that the kernel's AF_XDP sockets and more than one process of ours can see: frames of equal size in a
// file without a name, which lives until the last of its users has let go of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "dataplane/xdp/descriptor.h"
#include "src/base/result.h"

namespace shunt::dataplane::xdp {

struct FrameShape {
    std::uint32_t count{};
    std::uint32_t bytes{};  // of a frame: 2048 or 4096, as the kernel wants it
    friend constexpr bool operator==(const FrameShape&, const FrameShape&) noexcept = default;
};

class Frames {
  public:
    // The kernel begins a packet so far behind the start of its frame: room for what steps put before it.
    static constexpr std::uint32_t headroom = 256;

    // Memory is allocated now, so that a lack of it is an error here and not a fault later. `huge`: on pages of 2 MiB.
    static Result<Frames> create(const FrameShape& shape, bool huge);
    // Those of another process, by its file. An error: the file is smaller than the shape.
    static Result<Frames> map(Descriptor file, const FrameShape& shape);

    Frames(Frames&& other) noexcept { *this = std::move(other); }
    Frames& operator=(Frames&& other) noexcept {
        std::swap(file_, other.file_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        std::swap(shape_, other.shape_);
        return *this;
    }
    ~Frames();

    std::byte* data() const noexcept { return data_; }
    std::uint64_t size() const noexcept { return std::uint64_t{shape_.count} * shape_.bytes; }
    const FrameShape& shape() const noexcept { return shape_; }
    int file() const noexcept { return file_.get(); }

  private:
    Frames() = default;
    static Result<Frames> map_file(Descriptor file, const FrameShape& shape);

    Descriptor file_;
    std::byte* data_{};
    std::uint64_t size_{};  // of the mapping
    FrameShape shape_{};
};

}  // namespace shunt::dataplane::xdp
