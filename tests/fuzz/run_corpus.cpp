// Runs inputs through a harness without libFuzzer: files, or all files of directories. For the unit tests, and to
// measure what the committed corpus covers.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
// What a harness asks of all inputs together, if it asks anything.
extern "C" bool reaches_enough() __attribute__((weak));

namespace {

void run(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

int main(int argc, char** argv) {
    std::size_t inputs = 0;
    for (int i = 1; i < argc; ++i) {
        if (!std::filesystem::is_directory(argv[i])) {
            run(argv[i]);
            ++inputs;
            continue;
        }
        for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
            run(entry);
            ++inputs;
        }
    }
    std::printf("%zu inputs\n", inputs);
    return inputs > 0 && (reaches_enough == nullptr || reaches_enough()) ? 0 : 1;
}
