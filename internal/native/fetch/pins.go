package main

import "marquee/internal/native"

// source is one package of a registry that carries a library: the archive, the member in it, and what both must be.
type source struct {
	// client is the program that downloads: npm or pip.
	client string
	// spec is the package at its exact version.
	spec string
	// platform is pip's platform tag; npm has none.
	platform string
	// archive and member are SHA-256 sums in hexadecimal; path is the member's in the archive.
	archive, path, member string
}

// pin is a library for a platform and every source of it, in order of preference.
type pin struct {
	library  native.Library
	platform string
	sources  []source
}

const (
	chdbVersion = "26.7.3-stable.1"
	onnxVersion = "1.30.0"

	onnxNPM = "6e3390d6b783e7be946fad629292799da28d0b42f84856e50d2c1b0383291e75"
)

// pins lists what is fetched. libchdb comes from npm alone: PyPI's wheel of the same engine hides the C interface, and
// for arm64 no package with it could be had and checked.
func pins() []pin {
	return []pin{
		{native.ChDB, "linux-amd64", []source{{
			client: "npm", spec: "@chdb/lib-linux-x64-gnu@" + chdbVersion,
			archive: "c0d32b129e988f2b9a9a31c9141aecf5e1e2453f9a079efc4d36ab8e3f92b2ad",
			path:    "package/libchdb.so",
			member:  "36ad4e999882821ef13cf2d0f52c93f48e6ee1b4498b35a201c23ce4b8d15bf5",
		}}},
		{native.ONNXRuntime, "linux-amd64", []source{{
			client: "pip", spec: "onnxruntime==" + onnxVersion, platform: "manylinux_2_28_x86_64",
			archive: "fd54b314ea385bcecac69ab431f020ba503e3878dad4ebb645fec5a24b041242",
			path:    "onnxruntime/capi/libonnxruntime.so." + onnxVersion,
			member:  "c902c70b3003c0e99fada202f37478c515ae9bba7944c2b2abd0017bae0c82ed",
		}, {
			client: "npm", spec: "onnxruntime-node@" + onnxVersion, archive: onnxNPM,
			path:   "package/bin/napi-v6/linux/x64/libonnxruntime.so.1",
			member: "ffb75a925ba05e47b235bb66e3e3911714a80b328a9c9425539feb204aa32a23",
		}}},
		{native.ONNXRuntime, "linux-arm64", []source{{
			client: "pip", spec: "onnxruntime==" + onnxVersion, platform: "manylinux_2_28_aarch64",
			archive: "bac3aee7b40acd805659fd81a2acd6096312d5b0f014c97ddfe75fb4c1644627",
			path:    "onnxruntime/capi/libonnxruntime.so." + onnxVersion,
			member:  "8a218e1e446880131115c368ec7005969a5022af9a15a26173de648fef0b7789",
		}, {
			client: "npm", spec: "onnxruntime-node@" + onnxVersion, archive: onnxNPM,
			path:   "package/bin/napi-v6/linux/arm64/libonnxruntime.so.1",
			member: "1f549d46250b005580b597f4164984aaf75b3bcb9f3aeb07c7f8a8fe60b23c76",
		}}},
	}
}
