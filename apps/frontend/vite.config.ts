import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

export default defineConfig({
  plugins: [react()],
  server: {
    proxy: { "/api": process.env["GATEWAY_URL"] || "http://127.0.0.1:8000" },
  },
  build: {
    // Every asset is a file of its own: the content security policy allows no data: URL.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  test: {
    projects: [
      {
        extends: true,
        test: {
          name: "app",
          include: ["src/**/*.test.{ts,tsx}"],
          environment: "happy-dom",
          setupFiles: "src/test/setup.ts",
          unstubGlobals: true,
        },
      },
      {
        extends: true,
        // Starts the nginx on the PATH with the configuration that is shipped.
        test: { name: "nginx", include: ["nginx/**/*.test.ts"], environment: "node" },
      },
    ],
  },
});
