#include "src/shm/region.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <utility>

namespace shunt::shm {
namespace {

Error failure(const std::string& path, const std::string& what, int error) {
    Error e{.message = what + ": " + std::strerror(error), .file = path};
    switch (error) {
        case EACCES:
        case EPERM:
            e.remedy = "run as root or as the owner of the directory";
            break;
        case ENOENT:
            e.remedy = "create the directory, or start the process that owns the file";
            break;
        case ENOMEM:
        case ENOSPC:
            e.remedy = "make room: for huge pages raise /proc/sys/vm/nr_hugepages, for tmpfs its size";
            break;
        default:
            break;
    }
    return e;
}

std::uint64_t round_up(std::uint64_t bytes, std::uint64_t page) { return (bytes + page - 1) / page * page; }

struct flock whole_file_lock() {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    return lock;
}

// The mappings that survive a truncation, as the signal handler sees them; an `end` of 0 is a free place.
struct Mapping {
    std::atomic<std::uintptr_t> begin, end, page;
};
constinit std::array<Mapping, 64> surviving{};

const Mapping* mapping_of(std::uintptr_t address) noexcept {
    for (const Mapping& mapping : surviving) {
        if (address < mapping.end.load() && address >= mapping.begin.load()) return &mapping;
    }
    return nullptr;
}

// A page of zeros takes the place of the one that is missing, and the instruction goes on. Any other bus error ends the
// process, as it would have.
void on_bus_error(int signal, siginfo_t* info, void*) {
    const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
    const int error = errno;
    if (const Mapping* mapping = mapping_of(address)) {
        const std::uintptr_t page = mapping->page.load();
        void* at = reinterpret_cast<void*>(address / page * page);
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
        if (mmap(at, page, PROT_READ | PROT_WRITE, flags, -1, 0) != MAP_FAILED) {
            errno = error;
            return;
        }
    }
    ::signal(signal, SIG_DFL);  // and the instruction is repeated
}

void catch_bus_errors() noexcept {
    struct sigaction action {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    sigaction(SIGBUS, &action, nullptr);
}

void forget_mapping(const std::byte* data) noexcept {
    for (Mapping& mapping : surviving) {
        if (mapping.begin.load() == reinterpret_cast<std::uintptr_t>(data)) mapping.end.store(0);
    }
}

}  // namespace

Region::Region(Region&& other) noexcept { *this = std::move(other); }

Region& Region::operator=(Region&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(reserved_, other.reserved_);
    std::swap(allocated_, other.allocated_);
    std::swap(file_, other.file_);
    std::swap(lock_, other.lock_);
    std::swap(page_, other.page_);
    std::swap(path_, other.path_);
    return *this;
}

Region::~Region() {
    if (data_ != nullptr) {
        forget_mapping(data_);
        munmap(data_, reserved_);
    }
    if (file_ >= 0) close(file_);
    if (lock_ >= 0) close(lock_);
}

Status Region::map(int protection, std::uint64_t reserve_bytes) {
    struct statfs filesystem {};
    if (fstatfs(file_, &filesystem) == 0 && filesystem.f_type == HUGETLBFS_MAGIC) {
        page_ = static_cast<std::uint64_t>(filesystem.f_bsize);
    }
    reserved_ = round_up(reserve_bytes ? reserve_bytes : file_bytes(), page_);
    if (reserved_ == 0) return Error{.message = "the file is empty", .file = path_};
    void* memory = mmap(nullptr, reserved_, protection, MAP_SHARED | MAP_NORESERVE, file_, 0);
    if (memory == MAP_FAILED) {
        reserved_ = 0;
        return failure(path_, "cannot map the file", errno);
    }
    data_ = static_cast<std::byte*>(memory);
    return Done{};
}

Result<Region> Region::create(const std::string& path, std::uint64_t file_bytes, std::uint64_t reserve_bytes) {
    Region region;
    region.path_ = path;
    region.file_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (region.file_ < 0) return failure(path, "cannot create the file", errno);
    if (auto mapped = region.map(PROT_READ | PROT_WRITE, reserve_bytes); !mapped) return mapped.error();
    if (auto grown = region.grow(file_bytes); !grown) {
        unlink(path.c_str());
        return grown.error();
    }
    return region;
}

Result<Region> Region::open(const std::string& path, Access access, std::uint64_t reserve_bytes) {
    const bool writable = access == Access::read_write;
    Region region;
    region.path_ = path;
    region.file_ = ::open(path.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (region.file_ < 0) return failure(path, "cannot open the file", errno);
    if (auto mapped = region.map(writable ? PROT_READ | PROT_WRITE : PROT_READ, reserve_bytes); !mapped) {
        return mapped.error();
    }
    return region;
}

Region Region::anonymous(std::uint64_t bytes, Pages pages) {
    constexpr std::uint64_t huge_page = std::uint64_t{2} << 20;
    constexpr int protection = PROT_READ | PROT_WRITE;
    constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS;
    const bool huge = pages == Pages::huge;
    Region region;
    region.reserved_ = round_up(bytes, huge ? huge_page : region.page_);
    void* memory = huge ? mmap(nullptr, region.reserved_, protection, flags | MAP_HUGETLB, -1, 0) : MAP_FAILED;
    if (memory != MAP_FAILED) {
        region.page_ = huge_page;
    } else {
        memory = mmap(nullptr, region.reserved_, protection, flags | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) return {};
        if (huge) madvise(memory, region.reserved_, MADV_HUGEPAGE);  // a kernel that has none ignores it
    }
    region.data_ = static_cast<std::byte*>(memory);
    region.allocated_ = region.reserved_;
    return region;
}

std::uint64_t Region::file_bytes() const noexcept {
    struct stat status {};
    if (file_ < 0 || fstat(file_, &status) != 0) return allocated_;
    return static_cast<std::uint64_t>(status.st_size);
}

bool Region::is_at(const std::string& path) const noexcept {
    struct stat mapped {};
    struct stat named {};
    return file_ >= 0 && fstat(file_, &mapped) == 0 && stat(path.c_str(), &named) == 0 &&
           mapped.st_dev == named.st_dev && mapped.st_ino == named.st_ino;
}

void Region::survive_truncation() noexcept {
    if (mapping_of(reinterpret_cast<std::uintptr_t>(data_)) != nullptr) return;
    catch_bus_errors();
    for (Mapping& mapping : surviving) {
        if (mapping.end.load() != 0) continue;
        mapping.begin.store(reinterpret_cast<std::uintptr_t>(data_));
        mapping.page.store(page_);
        mapping.end.store(reinterpret_cast<std::uintptr_t>(data_) + reserved_);
        return;
    }
}

Status Region::grow(std::uint64_t bytes) {
    const std::uint64_t wanted = round_up(bytes, page_);
    if (wanted > reserved_) {
        return Error{.message = "the region is full: " + std::to_string(reserved_ >> 20) + " MiB are reserved",
                     .remedy = "remove services, or use smaller look-up tables",
                     .file = path_};
    }
    if (wanted <= allocated_) return Done{};
    // The file's length says nothing: on hugetlbfs a writable mapping makes it as long as what is reserved.
    const std::uint64_t missing = wanted - allocated_;
    const int error = posix_fallocate(file_, static_cast<off_t>(allocated_), static_cast<off_t>(missing));
    if (error != 0) return failure(path_, "cannot get " + std::to_string(missing >> 10) + " KiB", error);
    allocated_ = wanted;
    return Done{};
}

bool Region::try_lock() noexcept {
    if (lock_ >= 0) return true;
    struct flock lock = whole_file_lock();
    return fcntl(file_, F_OFD_SETLK, &lock) == 0;
}

bool Region::locked_by_other() const noexcept {
    struct flock lock = whole_file_lock();
    return file_ >= 0 && fcntl(file_, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

}  // namespace shunt::shm
