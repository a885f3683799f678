#include "dataplane/xdp/frames.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace shunt::dataplane::xdp {
namespace {

constexpr std::uint64_t huge_page = std::uint64_t{2} << 20;

Error failure(std::uint64_t bytes, int error) {
    return {.message = "cannot get " + std::to_string(bytes >> 20) + " MiB for packets: " + std::strerror(error),
            .remedy = "free some memory, raise vm.nr_hugepages, or use fewer workers or ports"};
}

}  // namespace

Result<Frames> Frames::create(const FrameShape& shape, bool huge) {
    const std::uint64_t bytes = std::uint64_t{shape.count} * shape.bytes;
    const std::uint64_t size = huge ? (bytes + huge_page - 1) / huge_page * huge_page : bytes;
    Descriptor file(::memfd_create("shunt-packets", MFD_CLOEXEC | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : 0U)));
    if (!file) return failure(size, errno);
    if (const int error = ::posix_fallocate(file.get(), 0, static_cast<off_t>(size))) return failure(size, error);
    return map_file(std::move(file), shape);
}

Result<Frames> Frames::map(Descriptor file, const FrameShape& shape) { return map_file(std::move(file), shape); }

Result<Frames> Frames::map_file(Descriptor file, const FrameShape& shape) {
    Frames frames;
    frames.shape_ = shape;
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) return failure(frames.size(), errno);
    const auto size = static_cast<std::uint64_t>(status.st_size);
    if (size < frames.size()) return failure(frames.size(), ERANGE);
    void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, file.get(), 0);
    if (memory == MAP_FAILED) return failure(size, errno);
    frames.data_ = static_cast<std::byte*>(memory);
    frames.size_ = size;
    frames.file_ = std::move(file);
    return frames;
}

Frames::~Frames() {
    if (data_ != nullptr) ::munmap(data_, size_);
}

}  // namespace shunt::dataplane::xdp
