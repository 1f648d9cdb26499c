#include "duplexd/fuse_module.hpp"

#include <dlfcn.h>
#include <filesystem>
#include <string>
#include <string_view>
#include <unistd.h>

#include "control/program_path.hpp"

namespace duplex::duplexd {

Result<const exports::fuse::Module*> load_fuse_module() {
    const std::filesystem::path beside = control::program_directory();
    const std::string path = (beside / "../lib/duplex/fuse.so").lexically_normal();
    if (access(path.c_str(), F_OK) != 0) {
        return error(
            "a block device needs {}: install the package duplex-fuse, or say `export nbd` in "
            "/etc/duplex.conf",
            path);
    }
    void* const handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (handle == nullptr) return error("{}", dlerror());
    const auto* const module =
        static_cast<const exports::fuse::Module*>(dlsym(handle, exports::fuse::module_symbol));
    if (module == nullptr) return error("{}", dlerror());
    if (std::string_view(module->version) != DUPLEX_VERSION) {
        return error("{} is of version {}, duplexd of " DUPLEX_VERSION, path, module->version);
    }
    return module;
}

}  // namespace duplex::duplexd
