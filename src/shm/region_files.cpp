#include "src/shm/region_files.h"

#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "src/shm/region.h"

namespace shunt::shm {

void remove_unheld(const std::string& prefix, const std::string& own) {
    namespace fs = std::filesystem;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(fs::path(prefix).parent_path(), ignored)) {
        const std::string name = entry.path();
        if (!name.starts_with(prefix)) continue;
        const auto region = Region::open(name, Region::Access::read_only);
        if (name == own || !region || !region->locked_by_other()) unlink(name.c_str());
    }
}

}  // namespace shunt::shm
