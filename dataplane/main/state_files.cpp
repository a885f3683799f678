#include "dataplane/main/state_files.h"

#include <linux/magic.h>
#include <sys/vfs.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

namespace shunt::dataplane {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view prefix = "state.";

// The n of state.<n>; 0 if the name is another.
std::uint64_t number_of(const std::string& name) {
    std::uint64_t number = 0;
    if (!name.starts_with(prefix)) return 0;
    const char* end = name.data() + name.size();
    const auto [parsed, error] = std::from_chars(name.data() + prefix.size(), end, number);
    return error == std::errc{} && parsed == end ? number : 0;
}

}  // namespace

std::string path_of_state(const std::string& directory, std::uint64_t number) {
    return directory + "/" + std::string(prefix) + std::to_string(number);
}

std::vector<std::uint64_t> state_numbers(const std::string& directory) {
    std::vector<std::uint64_t> numbers;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(directory, ignored)) {
        if (const auto number = number_of(entry.path().filename())) numbers.push_back(number);
    }
    return numbers;
}

std::uint64_t number_in_force(const std::string& directory) {
    for (const std::uint64_t number : state_numbers(directory)) {
        std::error_code ignored;
        if (fs::equivalent(path_of_state(directory, number), directory + "/state", ignored)) return number;
    }
    return 0;
}

Status put_in_force(const std::string& directory, std::uint64_t number) {
    const std::string fresh = directory + "/state.new";
    std::error_code error;
    fs::remove(fresh, error);
    fs::create_hard_link(path_of_state(directory, number), fresh, error);
    if (!error) fs::rename(fresh, directory + "/state", error);
    // Where both are names of one file already, the rename leaves them.
    std::error_code ignored;
    fs::remove(fresh, ignored);
    if (!error) return Done{};
    return Error{.message = "cannot give the region its name: " + error.message(), .file = directory + "/state"};
}

void remove_state(const std::string& directory, std::uint64_t number) {
    std::error_code ignored;
    fs::remove(path_of_state(directory, number), ignored);
}

Result<InForce> find_in_force(const std::string& directory) {
    std::error_code error;
    fs::create_directories(directory, error);
    if (error) return Error{.message = "cannot make the directory: " + error.message(), .file = directory};
    const std::string path = directory + "/state";
    const auto bytes = fs::file_size(path, error);
    if (error || bytes == 0) return InForce{};
    auto region = shm::Region::open(path, shm::Region::Access::read_write);
    if (!region) return region.error();
    InForce found;
    found.flaw = shm::flaw_of_state(region->data(), region->file_bytes());
    if (found.flaw && found.flaw->kind == shm::StateFlaw::Kind::newer) {
        return Error{.message = "the state region has a newer layout than this program understands: " +
                                found.flaw->text + ", and layouts " + std::to_string(shm::oldest_layout_read) + " to " +
                                std::to_string(shm::layout_version) + " are understood",
                     .remedy = "start the version that made it, or remove the file to give up the flows it remembers",
                     .file = path};
    }
    found.region = *std::move(region);
    return found;
}

Status require_room(const std::string& directory, std::uint64_t bytes, std::uint64_t memory, std::uint64_t huge) {
    struct statfs filesystem {};
    if (::statfs(directory.c_str(), &filesystem) != 0) return Done{};
    const bool is_huge = filesystem.f_type == HUGETLBFS_MAGIC;
    std::uint64_t room = is_huge ? huge : memory;
    // hugetlbfs without a limit of its own says that it has no blocks.
    const auto blocks = static_cast<std::uint64_t>(filesystem.f_bavail);
    if (filesystem.f_blocks != 0) room = std::min(room, blocks * static_cast<std::uint64_t>(filesystem.f_bsize));
    if (bytes <= room) return Done{};
    const auto mebibytes = [](std::uint64_t n) { return std::to_string(n >> 20) + " MiB"; };
    std::string remedy = is_huge ? "raise vm.nr_hugepages (sysctl -w vm.nr_hugepages=N)"
                                 : "free some memory, or enlarge the file system (mount -o remount,size=N)";
    remedy += ", or lower dataplane.flows";
    if (!state_numbers(directory).empty()) remedy += ", or remove state.* there and the flows they remember";
    return Error{.message = "too little memory for flows and counters: " + mebibytes(bytes) + " are needed, " +
                            mebibytes(room) + " are there",
                 .remedy = std::move(remedy),
                 .file = directory};
}

}  // namespace shunt::dataplane
